#lang info
(define deps (quasiquote (("base-lib" #:version (unquote needed)))))
(define needed "3.0")
