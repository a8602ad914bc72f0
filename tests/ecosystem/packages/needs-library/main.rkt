#lang racket/base
(require ffi/unsafe)
(define-values (unused) (ffi-lib "libnosuchthing" (list "7" #f)))
(module+ test (void))
