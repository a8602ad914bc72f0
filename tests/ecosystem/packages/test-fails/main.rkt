#lang racket/base
;; Compiles; one of three checks fails, in a named test case.
(provide half)

(define (half n)
  (quotient n 2))

(module+ test
  (require rackunit)
  (check-equal? (half 4) 2)
  (test-case "half of an odd number"
    (check-equal? (half 3) 3/2))
  (check-equal? (half 0) 0))
