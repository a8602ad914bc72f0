#lang info
(define collection "floods-log")
(define deps '("base"))
