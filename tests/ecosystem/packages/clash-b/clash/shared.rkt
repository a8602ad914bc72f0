#lang racket/base
;; clash-a and clash-b both define this module: each is fine alone, together they cannot be installed.
(provide whose)
(define whose "b")
