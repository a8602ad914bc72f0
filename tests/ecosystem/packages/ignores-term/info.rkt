#lang info
(define collection "ignores-term")
(define deps '("base"))
