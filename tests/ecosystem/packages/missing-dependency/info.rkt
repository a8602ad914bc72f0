#lang info
(define collection "missing-dependency")
(define deps '("base" "package-that-nobody-has"))
