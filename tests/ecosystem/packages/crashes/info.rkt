#lang info
(define collection "crashes")
(define deps '("base"))
