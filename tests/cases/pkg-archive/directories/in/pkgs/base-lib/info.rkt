#lang info
(define collection "base-lib")
(define version "1.2")
(define deps (list))
