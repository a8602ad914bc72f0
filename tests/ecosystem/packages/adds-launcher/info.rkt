#lang info
(define collection "adds-launcher")
(define deps '("base"))
(define racket-launcher-names '("sample-hello"))
(define racket-launcher-libraries '("main.rkt"))
