#lang racket/base
;; Compiling it prints without end.
(require (for-syntax racket/base))

(define-syntax (chatter stx)
  (let loop ([n 0])
    (printf "line ~a: nothing that anybody wants to read\n" n)
    (loop (add1 n))))

(chatter)
