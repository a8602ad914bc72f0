#lang info
(define collection "flaky")
(define deps '("base"))
