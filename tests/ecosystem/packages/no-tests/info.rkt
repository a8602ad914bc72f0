#lang info
(define collection "no-tests")
(define deps '("base" "passes"))
