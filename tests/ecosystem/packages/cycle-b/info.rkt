#lang info
(define collection "cycle-b")
(define deps '("base" "cycle-a"))
