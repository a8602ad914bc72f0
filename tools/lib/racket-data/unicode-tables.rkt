#lang racket/base
;; Writes src/unicode_tables.rs: run `racket unicode-tables.rkt > src/unicode_tables.rs` with the Racket whose `write`
;; is to be matched. What cannot be asked for directly (grapheme break classes) is found by probing.
(define (chars) (for*/list ([i (in-range #x110000)] #:unless (<= #xD800 i #xDFFF)) (integer->char i)))
(define (span . cs) (string-grapheme-span (apply string cs) 0))
(define (ranges keep?)
  (define-values (done first last)
    (for/fold ([done '()] [first #f] [last #f]) ([c (chars)])
      (define i (char->integer c))
      (cond
        [(keep? c) (if (and first (= i (add1 last))) (values done first i)
                       (values (if first (cons (cons first last) done) done) i i))]
        [else (values done first last)])))
  (reverse (if first (cons (cons first last) done) done)))
(define (table name doc keep?)
  (define rs (ranges keep?))
  (printf "\n/// ~a\n#[rustfmt::skip]\npub(crate) static ~a: [(u32, u32); ~a] = [" doc name (length rs))
  (for ([r rs] [n (in-naturals)])
    (printf (if (zero? (modulo n 5)) "\n   " ""))
    (printf " (0x~a, 0x~a)," (number->string (car r) 16) (number->string (cdr r) 16)))
  (printf "\n];\n"))
(printf "//! Made by unicode-tables.rkt with Racket ~a: do not edit. Inclusive ranges, ascending.\n" (version))
(table "GRAPHIC" "Letters, marks, numbers, punctuation, symbols." char-graphic?)
(table "EXTENDERS" "Characters that never start a grapheme cluster after another one." (lambda (c) (= 2 (span #\a c))))
(table "PREPENDERS" "Characters that take the next one into their cluster." (lambda (c) (= 2 (span c #\a))))
(table "PICTOGRAPHS" "Pictographs: one zero-width joiner binds two of them." (lambda (c) (= 3 (span c #\u200D #\u231A))))
(table "CONTROLS" "Characters that nothing takes into its cluster." (lambda (c) (= 1 (span #\U111C2 c))))
