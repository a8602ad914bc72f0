#lang racket/base
;; The test process is ended by a signal.
(module+ test
  (require ffi/unsafe)
  ((get-ffi-obj "abort" #f (_fun -> _void))))
