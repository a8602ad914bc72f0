#lang racket/base
;; Bytecode that every Racket of this version can take, whatever its machine: what `racket -M` makes.
(provide compile-for-any-machine)

;; Compiles the modules below these directories once more, those that were compiled before. Everything else is left as it
;; is: it was compiled for this machine, and its hashes are those that other machines will see. So the packages were
;; judged, and their documents rendered, at full speed, and what is packed is for everybody.
;; (What this needs takes a while to load: it is loaded only when it is wanted.)
(define (compile-for-any-machine dirs)
  (define-syntax-rule (from module name) (dynamic-require 'module 'name))
  (define own (map path-elements dirs))
  (define (own? path)
    (define elements (path-elements path))
    (for/or ([dir (in-list own)])
      (and (> (length elements) (length dir))
           (for/and ([a (in-list dir)] [b (in-list elements)]) (equal? a b)))))
  (define stamp-of (from compiler/cm file-stamp-in-paths))
  ;; when it was last compiled, and the hash by which those who depend on it know it
  (define (installed-stamp path)
    (define stamp (and (not (own? path)) (stamp-of path (list "/"))))
    (and stamp (cons (car stamp) (hash-of-this-machine (cdr stamp)))))
  (define force (from racket/promise force))
  (define (hash-of-this-machine promise)
    (parameterize ([current-compile-target-machine (system-type 'target-machine)]) (force promise)))
  (define make-compile-one (from compiler/cm make-caching-managed-compile-zo))
  (define skip-file (from compiler/cm manager-skip-file-handler))
  (parameterize ([current-namespace (make-base-empty-namespace)]
                 [current-compile-target-machine #f]
                 [skip-file installed-stamp])
    (define compile-one (make-compile-one))
    (for* ([dir (in-list dirs)] [module (in-list (compiled-modules dir))])
      (define-values (base name dir?) (split-path module))
      (parameterize ([current-load-relative-directory base] [current-directory base])
        (compile-one module)))))

(define (path-elements path)
  (explode-path (simplify-path (path->complete-path path))))

;; The modules below a directory that have bytecode and are still there as source.
(define (compiled-modules dir)
  (for*/fold ([found '()] #:result (reverse found))
             ([sub (in-list (cons dir (directories-below dir)))]
              [compiled (in-value (build-path sub "compiled"))]
              #:when (directory-exists? compiled)
              [file (in-list (directory-list compiled))]
              [parts (in-value (regexp-match #rx"^(.*)_([^_.]*)[.]zo$" (path->string file)))]
              #:when parts
              [source (in-value (build-path sub (string-append (cadr parts) "." (caddr parts))))]
              #:when (file-exists? source))
    (cons source found)))

(define (directories-below dir)
  (for*/fold ([found '()]) ([sub (in-list (directory-list dir #:build? #t))]
                            #:when (directory-exists? sub))
    (append found (list sub) (directories-below sub))))
