#lang racket/base
;; Its source is taken away before anybody can fetch it.
