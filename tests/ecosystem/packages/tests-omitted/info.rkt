#lang info
(define collection "tests-omitted")
(define deps (quote ("base")))
(define test-omit-paths 'all)
