#lang racket/base
;; A test that fails every other time. DOWNSTREAM_OBSERVATION says which time this is, where somebody counts; else a coin.
(module+ test
  (define time (string->number (or (getenv "DOWNSTREAM_OBSERVATION") "")))
  (unless (if time (even? time) (zero? (random 2)))
    (error 'flaky "not my day")))
