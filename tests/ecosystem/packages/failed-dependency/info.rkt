#lang info
(define collection "failed-dependency")
(define deps '("base" "compile-error"))
