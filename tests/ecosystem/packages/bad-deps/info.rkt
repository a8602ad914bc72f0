#lang info
(define collection "bad-deps")
(define deps (quote ("base" 5)))
