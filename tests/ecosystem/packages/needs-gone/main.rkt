#lang racket/base
;; Depends on a package whose source is gone.
(require source-gone)
