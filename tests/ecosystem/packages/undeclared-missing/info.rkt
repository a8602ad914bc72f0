#lang info
(define collection "undeclared-missing")
(define deps '("base"))
