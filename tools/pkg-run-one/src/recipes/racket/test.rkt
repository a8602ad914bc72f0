#lang racket/base
;; racket test.rkt WORK ARCHIVE BUILT JOBS PACKAGE...
;; In another fresh machine: installs the built form and runs `raco test --drdr --package`, both in this process.
;;
;; Minimal Racket has no `raco test`: it belongs to compiler-lib, which depends on rackunit-lib and more. Were those
;; installed for the tool's sake, a package could use them without declaring it, and a changed rackunit-lib could never
;; be tested. So the two modules that `raco test` consists of are the *last* collection root here, alone: whatever the
;; package under test or its dependencies bring comes first, and nothing else comes with them.
(require (only-in pkg pkg-install-command)
         (only-in pkg/lib pkg-directory)
         setup/dirs
         raco/command-name
         "marks.rkt"
         "catalogs.rkt")

(define-values (work archive built jobs packages)
  (apply (lambda (work archive built jobs . packages)
           (values work archive built (string->number jobs) packages))
         (vector->list (current-command-line-arguments))))

(mark 'version (version))

(define runner-modules '(("compiler" "commands" "test.rkt") ("rackunit" "log.rkt")))

(define (collection-module parts)
  (define reversed (reverse parts))
  (apply collection-file-path (car reversed) (reverse (cdr reversed)) #:fail (lambda (message) #f)))

(define in-installation? (file-exists? (or (collection-module '("compiler" "commands" "test.rkt")) "/nowhere/")))

;; A tree with the runner's modules: made with the installation, or taken out of the packages of the archive and
;; compiled here. #f when there is none.
(define (find-runner)
  (define made (build-path (find-share-dir) "downstream" "test-runner"))
  (define (complete? root) (andmap (lambda (parts) (file-exists? (apply build-path root parts))) runner-modules))
  (cond
    [(complete? made) made]
    [else
     (define root (build-path work "test-runner"))
     (for ([zip (in-list '("compiler-lib.zip" "testing-util-lib.zip"))])
       (define path (build-path archive "pkgs" zip))
       (when (file-exists? path)
         (parameterize ([current-directory work])
           ((dynamic-require 'file/unzip 'unzip) path
            (lambda (name dir? in . more)
              (define parts (regexp-split #rx"/" (bytes->string/utf-8 name)))
              (when (member parts runner-modules)
                (define target (apply build-path root parts))
                ((dynamic-require 'racket/file 'make-parent-directory*) target)
                (call-with-output-file* target #:exists 'truncate
                  (lambda (out) (let loop () (define b (read-bytes 65536 in)) (unless (eof-object? b) (write-bytes b out) (loop)))))))))))
     (and (complete? root) root)]))

;; A configuration directory like the installation's, with one more collection root at the very end.
(define (configuration-with runner)
  (define dir (build-path work "config"))
  (make-directory dir)
  (define links (build-path dir "runner-links.rktd"))
  (call-with-output-file* links (lambda (o) (write (list (list 'root (path->bytes runner))) o)))
  (define file (let ([d (find-config-dir)]) (and d (build-path d "config.rktd"))))
  (define config (if (and file (file-exists? file)) (call-with-input-file* file read) (hash)))
  (call-with-output-file* (build-path dir "config.rktd")
    (lambda (o)
      (write (hash-set config 'links-search-files
                       (append (hash-ref config 'links-search-files '(#f)) (list (path->bytes links))))
             o)))
  (values dir links))

(void
 (try "test-install"
   (lambda ()
     (use-catalogs! (list built archive))
     ;; documents were judged when the package was built
     (parameterize ([current-command-name 'pkg])
       (apply pkg-install-command #:scope 'user #:auto #t #:jobs jobs #:no-docs #t packages))
     (for ([p (in-list packages)])
       (mark 'package p 'dir (pkg-directory p))))))

(void
 (try "test"
   (lambda ()
     (define runner (and (not in-installation?) (find-runner)))
     (unless (or in-installation? runner)
       (mark 'trouble "no test runner: neither the installation nor the archive has compiler-lib")
       (exit 1))
     (when runner
       (define-values (configuration links) (configuration-with runner))
       ;; for the processes that it starts, one for each file, and for this one
       (environment-variables-set! (current-environment-variables) #"PLTCONFIGDIR" (path->bytes configuration))
       (current-library-collection-links (append (current-library-collection-links) (list links))))
     (parameterize ([current-command-name 'test]
                    [current-command-line-arguments (list->vector (list* "--drdr" "--package" packages))])
       (dynamic-require 'compiler/commands/test #f)
       ;; it has a `main` where it does not run at once
       (when (module-declared? '(submod compiler/commands/test main) #t)
         (dynamic-require '(submod compiler/commands/test main) #f))))))
(mark 'done #t)
