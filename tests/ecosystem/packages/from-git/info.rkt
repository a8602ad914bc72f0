#lang info
(define collection "from-git")
(define deps '("base" "passes"))
(define build-deps '("rackunit-lib"))
