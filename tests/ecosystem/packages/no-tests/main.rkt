#lang racket/base
;; Builds, depends on another package, and has no tests: a pass must not be claimed for them.
(require passes)
(provide quadruple)

(define (quadruple n)
  (double (double n)))
