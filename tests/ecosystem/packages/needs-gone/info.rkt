#lang info
(define collection "needs-gone")
(define deps '("base" "source-gone"))
