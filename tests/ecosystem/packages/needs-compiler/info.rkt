#lang info
(define collection "needs-compiler")
(define deps '("base"))
