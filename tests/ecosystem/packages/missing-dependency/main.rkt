#lang racket/base
;; Depends on a package that is in no catalog.
(provide one)
(define one 1)
