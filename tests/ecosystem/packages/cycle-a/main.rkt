#lang racket/base
;; cycle-a needs cycle-b, and cycle-b needs cycle-a: built and judged together.
(require cycle-b)
(provide even-length?)

(define (even-length? l)
  (or (null? l) (odd-length? even-length? (cdr l))))

(module+ test
  (unless (even-length? '(1 2)) (error "two is even")))
