#lang info
(define collection "needs-program")
(define deps (quote ("base")))
