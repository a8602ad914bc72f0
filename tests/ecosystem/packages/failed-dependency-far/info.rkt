#lang info
(define collection "failed-dependency-far")
(define deps '("base" "failed-dependency"))
