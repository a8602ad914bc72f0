#lang racket/base
;; A test that computes for ever.
(module+ test
  (let loop ([n 0])
    (loop (add1 n))))
