#lang racket/base
;; Nothing wrong here, but `compile-error` cannot be built.
(require compile-error)
(provide welcome)

(define (welcome)
  (greet "you"))
