#lang racket/base
;; Compiles add.c with the C compiler of the machine while the package is compiled.
(require racket/system)
(provide build-library)

(define (build-library dir)
  (define cc (find-executable-path "cc"))
  (unless cc (error 'needs-compiler "no C compiler: cc is not on the path"))
  (unless (system* cc "-shared" "-fPIC" "-o" (build-path dir "libadd.so") (build-path dir "add.c"))
    (error 'needs-compiler "cc failed")))
