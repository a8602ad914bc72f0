#lang info
(define collection "cycle-a")
(define deps '("base" "cycle-b"))
