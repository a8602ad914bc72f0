#lang info
(define collection "wants-network")
(define deps '("base"))
