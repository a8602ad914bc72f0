#lang info
(define collection "passes")
(define deps '("base"))
(define build-deps '("rackunit-lib"))
(define pkg-desc "does what it says, and its tests show it")
(define version "1.2")
