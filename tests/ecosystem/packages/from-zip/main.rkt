#lang racket/base
;; Its source is a zip file on a server.
(provide one)
(define one 1)

(module+ test
  (require rackunit)
  (check-equal? one 1))
