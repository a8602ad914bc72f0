#lang info
(define collection "hangs")
(define deps '("base"))
