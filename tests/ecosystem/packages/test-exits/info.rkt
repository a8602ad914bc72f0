#lang info
(define collection "test-exits")
(define deps '("base"))
