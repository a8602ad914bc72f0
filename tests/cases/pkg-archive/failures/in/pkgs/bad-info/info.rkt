#lang info
(define deps (quote ("x"))
