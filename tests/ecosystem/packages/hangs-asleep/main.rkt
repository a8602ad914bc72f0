#lang racket/base
;; A test that waits for something that never comes, without a word and without using a processor.
(module+ test
  (sync never-evt))
