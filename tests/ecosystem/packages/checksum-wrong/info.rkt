#lang info
(define collection "checksum-wrong")
(define deps '("base"))
