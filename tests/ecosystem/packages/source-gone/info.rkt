#lang info
(define collection "source-gone")
(define deps '("base"))
