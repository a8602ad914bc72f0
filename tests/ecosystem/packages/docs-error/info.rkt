#lang info
(define collection "docs-error")
(define deps '("base"))
(define build-deps '("scribble-lib" "racket-index"))
(define scribblings '(("docs-error.scrbl" ())))
