#lang racket/base
;; Compiling it prints without end, straight to the standard output of the process.
(require (for-syntax ffi/unsafe
                     racket/base))

(define-syntax (chatter stx)
  (define write-out (get-ffi-obj "write" #f (_fun _int _bytes _size -> _ssize)))
  (define line #"nothing that anybody wants to read, again and again\n")
  (let loop ()
    (write-out 1 line (bytes-length line))
    (loop)))

(chatter)
