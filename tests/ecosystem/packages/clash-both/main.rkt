#lang racket/base
;; Needs two packages that cannot be installed together.
(require clash/shared)
(displayln whose)
