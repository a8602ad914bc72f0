#lang racket/base
(require racket/system)
(module+ test (unless (system "no-such-program --version") (exit 1)))
