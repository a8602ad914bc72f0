#lang racket/base
(provide one)
(define one 1)
