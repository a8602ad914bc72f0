#lang info
(define deps (quote ("bad-info")))
