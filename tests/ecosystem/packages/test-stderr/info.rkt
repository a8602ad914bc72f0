#lang info
(define collection "test-stderr")
(define deps '("base"))
