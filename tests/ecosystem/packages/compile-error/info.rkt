#lang info
(define collection "compile-error")
(define deps '("base"))
