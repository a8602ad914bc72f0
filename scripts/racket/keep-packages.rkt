#lang racket/base
;; Run by the racket of an installation, inside a machine (see install-racket): takes out every package of installation
;; scope that is not named on the command line, and leaves the rest as if it had never been there: compiled code, links,
;; caches and launchers too. `--all` keeps everything. Then puts the test runner beside the installation and prints what
;; the installation is as an `installation` document on stdout. The first argument is a directory where the modules of
;; the test runner may lie, for an installation that does not carry them.
;;
;; It works on the layouts of Racket's own installers and of Debian: every path is asked from setup/dirs.
(require compiler/cm
         compiler/compilation-path
         json
         launcher/launcher
         racket/file
         racket/list
         setup/dirs)

(define-values (other-runner-dir wanted)
  (let ([arguments (vector->list (current-command-line-arguments))])
    (values (string->path (car arguments)) (cdr arguments))))
(define pkgs-dir (find-pkgs-dir))
(define share-dir (find-share-dir))

(define (read-file file)
  (call-with-input-file* file read))
(define (rewrite file change)
  (when (file-exists? file)
    (define before (read-file file))
    (define after (change before))
    (unless (equal? before after)
      (call-with-atomic-output-file file (lambda (out _) (write after out) (newline out))))))

(define database (build-path pkgs-dir "pkgs.rktd"))
(define carried (if (file-exists? database) (read-file database) (hash)))
(define kept
  (if (member "--all" wanted)
      carried
      (for/hash ([name (in-list wanted)])
        (values name
                (hash-ref carried name
                          (lambda ()
                            (raise-user-error 'keep-packages "the installation carries no package ~s" name)))))))

;; -- the test runner: minimal Racket has none, and to install the package it comes in would give packages under test
;; dependencies that they did not declare. Two modules, outside every collection; the recipe puts them last on the path.
(define runner-dir (build-path share-dir "downstream" "test-runner"))
(define runner-modules
  '(("compiler" "commands" "test.rkt") ("rackunit" "log.rkt")))
(define (find-module path)
  (for/first ([dir (in-list (append (for/list ([name (in-list (sort (hash-keys carried) string<?))])
                                      (build-path pkgs-dir name))
                                    (list other-runner-dir)))]
              #:when (file-exists? (apply build-path dir path)))
    (apply build-path dir path)))
(for ([path (in-list runner-modules)])
  (define to (apply build-path runner-dir path))
  (define from (find-module path))
  (when (and from (not (file-exists? to)))
    (define-values (dir _name _dir?) (split-path to))
    (make-directory* dir)
    (copy-file from to)))

;; -- databases: a path in them is a list of byte strings relative to the share directory
(define (gone? path)
  (and (pair? path)
       (equal? (car path) #"pkgs")
       (pair? (cdr path))
       (not (hash-has-key? kept (bytes->string/utf-8 (cadr path))))))
(rewrite database (lambda (_) kept))
(rewrite (find-links-file)
         (lambda (links) (filter-not (lambda (link) (gone? (cadr link))) links)))
(rewrite (build-path share-dir "info-cache.rktd")
         (lambda (entries)
           (filter-not (lambda (entry)
                         (define path (car entry))
                         (and (pair? path) (eq? (car path) 'rel) (gone? (cdr path))))
                       entries)))

;; -- packages and their compiled code
(define compiled-dirs
  (for/list ([root (in-list (current-compiled-file-roots))]
             #:when (and (path? root) (complete-path? root)))
    (reroot-path pkgs-dir root)))
(for* ([dir (in-list (cons pkgs-dir compiled-dirs))]
       #:when (directory-exists? dir)
       [name (in-list (directory-list dir))]
       #:unless (hash-has-key? kept (path->string name))
       #:when (directory-exists? (build-path dir name)))
  (delete-directory/files (build-path dir name)))

;; -- launchers of collections that are gone, so that a package that brings one finds its place free
(define (collection-here? path)
  (with-handlers ([exn:fail? (lambda (_) #f)])
    (directory-exists? (apply collection-path path))))
(define (launcher-file key)
  (define to-path
    (if (eq? (vector-ref key 0) 'gui) gracket-program-launcher-path racket-program-launcher-path))
  (to-path (vector-ref key 2)))
(rewrite (build-path (find-lib-dir) "launchers.rktd")
         (lambda (table)
           (define-values (here gone)
             (partition (lambda (entry) (collection-here? (cdr entry))) (hash->list table)))
           (for ([entry (in-list gone)])
             (define file (launcher-file (car entry)))
             ;; an ordinary user's machine may own the packages but not the programs: then these stay, and fail
             (with-handlers ([exn:fail:filesystem? void])
               (when (or (file-exists? file) (link-exists? file))
                 (delete-file file))))
           (make-hash here)))

;; -- only now, when what is left is what it will find
(define runner-file (build-path runner-dir "compiler" "commands" "test.rkt"))
(when (file-exists? runner-file)
  (parameterize ([current-library-collection-paths (append (current-library-collection-paths) (list runner-dir))]
                 [current-namespace (make-base-empty-namespace)])
    (managed-compile-zo runner-file)))

(write-json
 (hasheq 'kind "installation"
         'v 1
         'version (version)
         'vm (symbol->string (system-type 'vm))
         'platform (path->string (system-library-subpath #f))
         'system (symbol->string (system-type))
         'packages (sort (hash-keys kept) string<?)
         'origin ""))
(newline)
