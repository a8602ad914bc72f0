#lang racket/base
(module+ test (let loop () (loop)))
