#lang racket/base
(require base-lib)
