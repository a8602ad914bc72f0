#lang info
(define collection "needs-library")
(define deps (quote ("base")))
