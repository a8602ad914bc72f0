#lang info
(define collection (quote multi))
(define deps (quote (("base-lib" #:version "1.0") ("win-lib" #:platform windows))))
(define build-deps (quote ("tool")))
