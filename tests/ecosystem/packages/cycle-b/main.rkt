#lang racket/base
;; The packages need each other, the modules do not.
(provide odd-length?)

(define (odd-length? even? l)
  (and (pair? l) (even? (cdr l))))
