#lang racket/base
;; Adds a program to the installation.
(module+ main
  (displayln "hello"))
