#lang racket/base
;; What is fetched is not what the catalog promises.
