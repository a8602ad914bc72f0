#lang info
(define collection "undeclared")
(define deps '("base" "no-tests"))
