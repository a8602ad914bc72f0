#lang racket/base
;; A test that leaves behind a process in a session of its own which does not end when asked to, and then sleeps.
(require racket/system)

(module+ test
  (system "setsid sh -c 'trap : TERM HUP INT; while :; do sleep 1; done' >/dev/null 2>&1 &")
  (sync never-evt))
