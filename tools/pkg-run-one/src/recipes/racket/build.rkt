#lang racket/base
;; racket build.rkt WORK ARCHIVE BUILT OUT JOBS PACKAGE...
;; Installs the packages of one cycle (mostly there is one) from source, judges them, and packs their built form: all in
;; one process, through the functions behind `raco pkg` and `raco setup`. ARCHIVE and BUILT hold `catalog/` and `pkgs/`;
;; each is a directory or a URL.
(require (only-in pkg pkg-install-command pkg-create-command)
         pkg/lib
         setup/setup
         setup/option
         raco/command-name
         "marks.rkt"
         "catalogs.rkt"
         "any-machine.rkt")

(define-values (work archive built out jobs packages)
  (apply (lambda (work archive built out jobs . packages)
           (values work archive built out (string->number jobs) packages))
         (vector->list (current-command-line-arguments))))

(mark 'version (version) 'vm (system-type 'vm))

;; ---- install: from the archive for the packages at hand, built form first for the others
(define failed-install
  (try "install" #:go-on? #t
    (lambda ()
      (use-catalogs! (list (own-catalog work archive packages) built archive))
      ;; make-verbose, or else what a package prints while it compiles would not be in the log
      (parameterize ([current-command-name 'pkg] [make-verbose #t])
        (apply pkg-install-command #:scope 'user #:auto #t #:jobs jobs packages)))))

(define table (installed-pkg-table #:scope 'user))
(define here (filter (lambda (p) (hash-has-key? table p)) packages))
(define (directory-of p) (pkg-directory p))

;; What a package adds to an installation: asked of the package manager, not guessed.
(define (tell-adds p)
  (define dir (directory-of p))
  (define installs (pkg-directory->additional-installs dir p))
  (define (of . kinds)
    (sort (for/list ([i (in-list installs)] #:when (memq (car i) kinds)) (cdr i)) string<?))
  (mark 'package p
        'dir dir
        'adds (hasheq 'executables (of 'exe 'gui-exe)
                      'libraries (of 'lib 'foreign-lib)
                      'shared (of 'share)
                      'man_pages (of 'man)
                      'modules (sort (for/list ([m (in-list (pkg-directory->module-paths dir p))]) (cadr m))
                                     string<?)))
  (mark 'package p
        'docs (for/list ([name (in-list (of 'doc))])
                (define rendered (rendered-doc dir name))
                (hasheq 'name name
                        'status (cond [(not rendered) "none"] [(zero? failed-install) "main"] [else "extract"])))))

(define (rendered-doc dir name)
  (define (page? d) (file-exists? (build-path d "index.html")))
  (let search ([d dir])
    (or (for/or ([sub (in-list (directory-list d #:build? #t))] #:when (directory-exists? sub))
          (define-values (base last dir?) (split-path sub))
          (or (and (equal? (path->string last) "doc")
                   (let ([candidate (build-path sub name)]) (and (page? candidate) candidate)))
              (and (not (member (path->string last) '("compiled" ".git"))) (search sub)))))))

(define (pack p)
  (parameterize ([current-directory out])
    (pkg-create-command #:from-install #t #:built #t #:dest out p)))
(define (tell-packed p)
  (define zip (build-path out (string-append p ".zip")))
  (when (file-exists? zip) (mark 'package p 'file zip)))

(unless (zero? failed-install)
  ;; what was rendered before it failed is worth keeping, and so is a half-built package for whoever wants to look
  (for ([p (in-list here)])
    (with-handlers ([void void])
      (tell-adds p)
      (mark 'salvage #t)
      (parameterize ([exit-handler void] [current-output-port (open-output-bytes)] [current-error-port (open-output-bytes)])
        (pack p))
      (tell-packed p)))
  (mark 'done #t)
  (exit 1))

;; ---- undeclared: everything else that came along must be in built form already
(void
 (try "undeclared"
   (lambda ()
     (define strangers
       (for/list ([(p info) (in-hash table)]
                  #:unless (member p packages)
                  #:unless (equal? (pkg-info-checksum info) (checksum-in built p)))
         p))
     (define names (apply string-append (for/list ([p (in-list (sort strangers string<?))]) (string-append " " p))))
     (unless (null? strangers)
       (cond
         [(getenv "DOWNSTREAM_TRY_ANYWAY")
          (mark 'finding (hasheq 'code "not-built-before" 'message (string-append "built from source along with it:" names)))]
         [else
          (eprintf "use of package not previously built\n  package:~a\n" names)
          (exit 1)])))))

;; ---- deps: what `raco setup -nxiID --check-pkg-deps --pkgs` checks; it ends nothing
(void
 (try "deps" #:go-on? #t
   (lambda ()
     (unless (parameterize ([make-zo #f] [make-launchers #f] [call-install #f] [call-post-install #f] [make-docs #f]
                            [make-info-domain #f])
               (setup #:pkgs packages #:make-docs? #f #:check-pkg-deps? #t #:avoid-main? #t))
       (exit 1)))))

;; ---- adds
(void (try "adds" (lambda () (for-each tell-adds packages))))

;; ---- pack
(void
 (try "pack"
   (lambda ()
     (define compile-any? (getenv "DOWNSTREAM_COMPILE_ANY"))
     (when compile-any? (compile-for-any-machine (map directory-of packages)))
     ;; packing writes and compiles an info.rkt of its own
     (parameterize ([current-compile-target-machine (and (not compile-any?) (current-compile-target-machine))])
       (for-each pack packages))
     (for-each tell-packed packages))))
(mark 'done #t)
