#lang info
(define collection "eats-memory")
(define deps '("base"))
