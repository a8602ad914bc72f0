#lang info
(define collection "clash-both")
(define deps '("base" "clash-a" "clash-b"))
