#lang racket/base
;; A test that writes until there is no room left.
(module+ test
  (define chunk (make-bytes (* 1024 1024) 120))
  (define file (build-path (find-system-path 'temp-dir) "big"))
  (call-with-output-file file
    (lambda (out)
      (let loop ()
        (write-bytes chunk out)
        (loop)))))
