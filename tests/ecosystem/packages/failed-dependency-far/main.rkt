#lang racket/base
;; Two steps from the culprit.
(require failed-dependency)
(welcome)
