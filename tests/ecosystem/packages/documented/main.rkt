#lang racket/base
;; Its documents are rendered and become part of what it adds.
(provide answer)
(define answer 42)
