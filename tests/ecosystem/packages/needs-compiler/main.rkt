#lang racket/base
;; Builds only where there is a C compiler: on the extended machine, not on the minimal one.
(require (for-syntax racket/base
                     "build.rkt")
         ffi/unsafe
         racket/runtime-path)
(provide add)

(begin-for-syntax
  (define here (or (current-load-relative-directory) (current-directory)))
  (build-library here))

(define-runtime-path library "libadd.so")
(define (add a b)
  ((get-ffi-obj "add" (ffi-lib library) (_fun _int _int -> _int)) a b))

(module+ test
  (unless (= 5 (add 2 3)) (error "2 + 3")))
