#lang racket/base
;; The compiler never ends: a macro that expands for ever.
(require (for-syntax racket/base))

(define-syntax (forever stx)
  (let loop ([n 0])
    (loop (add1 n))))

(forever)
