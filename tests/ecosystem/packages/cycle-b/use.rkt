#lang racket/base
;; Here cycle-b uses cycle-a.
(require cycle-a)
(provide odd?-of-list)

(define (odd?-of-list l)
  (not (even-length? l)))

(module+ test
  (unless (odd?-of-list '(1)) (error "one is odd")))
