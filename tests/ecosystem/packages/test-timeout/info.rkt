#lang info
(define collection "test-timeout")
(define deps (quote ("base")))
(define test-timeouts '(("main.rkt" 2)))
