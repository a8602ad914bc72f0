#lang racket/base
;; Its source is a git repository, in a directory of it.
(require passes)
(provide triple)

(define (triple n)
  (+ n (double n)))

(module+ test
  (require rackunit)
  (check-equal? (triple 2) 6))
