#lang info
(define collection "hangs-building")
(define deps '("base"))
