#lang info
(define collection "test-fails")
(define deps '("base"))
(define build-deps '("rackunit-lib"))
