#lang info
(define collection "bad-info")
(define deps '("base"))
(define version (let ([major 1]) (number->string major)))
