#lang racket/base
;; Uses `passes`, which it gets only because `no-tests` needs it: works today, is declared nowhere.
(require no-tests
         passes)
(provide six)

(define six (+ (quadruple 1) (double 1)))
