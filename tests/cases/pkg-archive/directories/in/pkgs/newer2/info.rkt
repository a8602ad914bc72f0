#lang info
(define needed "3.0")
(define collection "base-lib")
(define deps (quasiquote (("base-lib" #:version (unquote needed)))))
