#lang info
(define collection "fills-disk")
(define deps '("base"))
