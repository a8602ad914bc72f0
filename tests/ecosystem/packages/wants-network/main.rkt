#lang racket/base
;; A test that talks to a server.
(require racket/tcp)

(module+ test
  (define-values (in out) (tcp-connect "www.example.org" 80))
  (close-input-port in)
  (close-output-port out))
