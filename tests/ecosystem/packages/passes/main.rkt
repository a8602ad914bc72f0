#lang racket/base
;; A package with nothing wrong: two tests, both pass.
(provide double)

(define (double n)
  (* 2 n))

(module+ test
  (require rackunit)
  (check-equal? (double 2) 4)
  (check-equal? (double -1) -2))
