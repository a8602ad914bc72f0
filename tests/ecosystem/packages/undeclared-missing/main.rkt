#lang racket/base
;; Uses `passes` and declares nothing that would bring it.
(require passes)
(provide two)

(define two (double 1))
