#lang info
(define collection "forks")
(define deps '("base"))
