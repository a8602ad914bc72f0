#lang info
(define collection 'multi)
(define deps '("base"))
