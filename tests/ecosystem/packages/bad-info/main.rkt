#lang racket/base
;; info.rkt goes beyond the language of info files.
(provide one)
(define one 1)
