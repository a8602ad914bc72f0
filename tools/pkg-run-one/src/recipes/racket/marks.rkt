#lang racket/base
;; Lines that tell pkg-run-one what this process is doing. A mark is the word in DOWNSTREAM_MARK (new for every run, so
;; that nothing a package prints can pass for one), a space, and one JSON object. The word is taken out of the
;; environment before any code of a package runs.
(provide mark begin-phase end-phase try)

(define word (or (getenv "DOWNSTREAM_MARK") "@downstream"))
(void (environment-variables-set! (current-environment-variables) #"DOWNSTREAM_MARK" #f))

;; "before:PHASE" or "after:PHASE": a person wants the machine as it is then.
(define stop (or (getenv "DOWNSTREAM_STOP") ""))
(define (stop-at where name)
  (when (equal? stop (string-append where name))
    (mark 'stopped name)
    (exit 0)))

;; json's `write-json` would do, at the price of loading it: this is all of it that marks need.
(define (write-value v out)
  (cond
    [(hash? v)
     (write-string "{" out)
     (for ([k (in-list (sort (hash-keys v) symbol<?))] [i (in-naturals)])
       (unless (zero? i) (write-string "," out))
       (write-value (symbol->string k) out)
       (write-string ":" out)
       (write-value (hash-ref v k) out))
     (write-string "}" out)]
    [(list? v)
     (write-string "[" out)
     (for ([e (in-list v)] [i (in-naturals)])
       (unless (zero? i) (write-string "," out))
       (write-value e out))
     (write-string "]" out)]
    [(string? v)
     (write-string "\"" out)
     (for ([c (in-string v)])
       (cond
         [(memv c '(#\" #\\)) (write-char #\\ out) (write-char c out)]
         [(char<? c #\space)
          (write-string (string-append "\\u" (hex4 (char->integer c))) out)]
         [else (write-char c out)]))
     (write-string "\"" out)]
    [(path? v) (write-value (path->string v) out)]
    [(symbol? v) (write-value (symbol->string v) out)]
    [(number? v) (write v out)]
    [(not v) (write-string "false" out)]
    [else (write-string "true" out)]))

(define (hex4 n)
  (define s (number->string n 16))
  (string-append (make-string (- 4 (string-length s)) #\0) s))

(define (mark . keys+values)
  (flush-output (current-error-port))
  (define out (current-output-port))
  (write-string "\n" out)
  (write-string word out)
  (write-string " " out)
  (write-value (apply hasheq keys+values) out)
  (newline out)
  (flush-output out))

(define (begin-phase name)
  (stop-at "before:" name)
  (mark 'begin name))
(define (end-phase name exit-code)
  (mark 'end name 'exit_code exit-code)
  (stop-at "after:" name))

;; Runs the body of a phase. An exception ends it with 1 (its message goes to stderr, as raco would print it), a call of
;; `exit` with its code; otherwise 0. A phase that fails ends the process, unless it is told to go on.
(define (try name body #:go-on? [go-on? #f])
  (begin-phase name)
  (define code
    (let/ec done
      (parameterize ([exit-handler
                      (lambda (v) (done (if (and (exact-integer? v) (<= 1 v 255)) v 0)))])
        (with-handlers ([void (lambda (e)
                                ((error-display-handler) (if (exn? e) (exn-message e) (format "~s" e)) e)
                                1)])
          (body)
          0))))
  (end-phase name code)
  (unless (or go-on? (zero? code))
    (mark 'done #t)
    (exit 1))
  code)
