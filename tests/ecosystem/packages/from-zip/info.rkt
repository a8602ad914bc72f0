#lang info
(define collection "from-zip")
(define deps '("base"))
(define build-deps '("rackunit-lib"))
