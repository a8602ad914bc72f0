#lang info
(define collection "hangs-asleep")
(define deps '("base"))
