#lang info
(define collection "documented")
(define deps '("base"))
(define build-deps '("scribble-lib" "racket-index"))
(define scribblings '(("documented.scrbl" ())))
