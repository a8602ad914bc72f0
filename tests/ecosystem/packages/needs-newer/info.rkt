#lang info
(define collection "needs-newer")
(define deps (quote (("base" #:version "9.5"))))
