#lang racket/base
;; Where packages come from.
(require (only-in pkg pkg-config-command)
         net/url)
(provide use-catalogs! own-catalog checksum-in)

(define (url? s) (regexp-match? #rx"^https?://" s))
(define (catalog-of place) (if (url? place) (string-append (regexp-replace #rx"/*$" place "") "/catalog/")
                               (build-path place "catalog")))

;; Looks packages up in the given places, in order, and nowhere else.
(define (use-catalogs! places)
  (apply pkg-config-command #:set #t #:scope 'user "catalogs"
         (for/list ([place (in-list places)])
           (define catalog (catalog-of place))
           (if (string? catalog) catalog (string-append "file://" (path->string (path->complete-path catalog)))))))

(define (entry place name)
  (with-handlers ([exn:fail? (lambda (e) #f)])
    (define text
      (if (url? place)
          (call/input-url (string->url (string-append (catalog-of place) "pkg/" name)) get-pure-port read)
          (call-with-input-file* (build-path (catalog-of place) "pkg" name) read)))
    (and (hash? text) text)))

(define (checksum-in place name)
  (define e (entry place name))
  (and e (hash-ref e 'checksum #f)))

;; A catalog of the packages under test alone, as they are in the archive: a built form of an earlier run, which the
;; built catalog may still have, must not stand in for them.
(define (own-catalog work archive packages)
  (define dir (build-path work "own"))
  (define pkg (build-path dir "catalog" "pkg"))
  (for/fold ([at #f]) ([p (list (build-path work) dir (build-path dir "catalog") pkg)])
    (unless (directory-exists? p) (make-directory p)))
  (for ([name (in-list packages)])
    (define e (entry archive name))
    (when e
      (define source (hash-ref e 'source))
      (define absolute
        (cond
          [(regexp-match? #rx"^[a-z]+://" source) source]
          [(url? archive) (url->string (combine-url/relative (string->url (catalog-of archive)) source))]
          [else (path->string (simplify-path (path->complete-path source (build-path archive "catalog"))))]))
      (call-with-output-file* (build-path pkg name) #:exists 'truncate
        (lambda (o) (write (hash-set e 'source absolute) o)))))
  (path->string dir))
