#lang racket/base
;; An identifier that is bound nowhere.
(provide greet)

(define (greet name)
  (string-append "hello, " nmae))
