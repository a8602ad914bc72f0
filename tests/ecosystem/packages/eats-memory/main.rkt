#lang racket/base
;; A test that keeps everything it allocates.
(module+ test
  (let loop ([kept '()])
    (loop (cons (make-bytes (* 16 1024 1024) 1) kept))))
