#lang racket/base
;; Nothing fails, but a test that writes to stderr is no success (raco test --drdr).
(module+ test
  (eprintf "warning: deprecated\n"))
