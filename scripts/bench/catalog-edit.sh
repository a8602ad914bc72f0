#!/bin/sh
# catalog-edit.sh - the edit of one repository (six packages) in place, in a catalog of 2,500 entries with every key that
# the public index writes, against the same edit as a Racket program; then the subset around it, and 100,000 entries
# from stream to stream. Medians of ROUNDS (7), in memory (/dev/shm) unless TMPDIR says otherwise. Needs racket and GNU time.
# BIN: where the programs are.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/bench/timing
. "$here/timing"
bin=$(cd "${BIN:-$here/../../target/release}" && pwd)
rounds=${ROUNDS:-7}
for need in racket /usr/bin/time; do
    command -v "$need" >/dev/null || { echo "catalog-edit.sh: $need is not here" >&2; exit 69; }
done
dir=$(in_memory catalog-edit)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$dir"
export PLTUSERHOME="$dir/home" HOME="$dir/home"
sha=0123456789abcdef0123456789abcdef01234567

# entries COUNT: pkgs, pkgs-all and pkg/* of a catalog; about 2.7 KB an entry, as in the public index
entries() {
    mkdir -p pkg
    awk -v count="$1" -v files="${2:-yes}" '
    function word(n) { seed = (seed * 1103515245 + 12345 + n) % 2147483648; return seed }
    function hex(n,    s) { s = ""; while (length(s) < 40) s = s sprintf("%08x", word(n)); return substr(s, 1, 40) }
    BEGIN {
        seed = 7
        printf "#hash(" >"pkgs-all"; printf "(" >"pkgs"
        for (i = 0; i < count; i++) {
            name = sprintf("package-%06d", i); sum = hex(i); author = "author" (word(i) % 400) "@example.org"
            owner = i % 417 == 5 ? "changed/repository" : "owner" (word(i) % 500) "/racket-" name
            source = "git://github.com/" owner "?path=" name
            s = sprintf("#hash((author . \"%s\") (authors . (\"%s\"))", author, author)
            s = s sprintf(" (build . #hash((conflicts-log . #f) (dep-failure-log . #f) (docs . ((\"main\" \"%s\" \"server/built/doc/%s/index.html\"))) (failure-log . #f) (min-failure-log . #f) (success-log . \"server/built/install/%s.txt\") (test-failure-log . #f) (test-success-log . \"server/built/test-success/%s.txt\")))", name, name, name, name)
            s = s sprintf(" (checksum . \"%s\") (checksum-error . #f) (conflicts . ()) (dependencies . (\"package-%06d\" (\"package-%06d\" #:version \"1.%d\")", sum, word(1) % (i + 1), word(2) % (i + 1), i % 9)
            s = s sprintf(")) (description . \"A package for measuring, number %d of %d: what it does and why\") (implies . ())", i, count)
            s = s sprintf(" (last-checked . 1550432934) (last-edit . 1493076385) (last-updated . %d) (license . \"(Apache-2.0 OR MIT)\") (modules . (", 1500000000 + i)
            for (m = 6 + word(3) % 13; m > 0; m--) s = s sprintf("(lib \"%s/private/part-%d/module-%d.rkt\")%s", name, m, word(m) % 1000, (m > 1 ? " " : ""))
            s = s sprintf(")) (name . \"%s\") (ring . %d) (search-terms . #hasheq((:build-success: . #t) (author:%s . #t) (ring:%d . #t)))", name, i % 3, author, i % 3)
            s = s sprintf(" (source . \"%s\") (tags . (\"tag-%d\" \"tag-%d\"))", source, word(5) % 90, word(6) % 90)
            s = s sprintf(" (versions . #hash((default . #hasheq((checksum . \"%s\") (source . \"%s\") (source_url . \"%s\")))))", sum, source, source)
            s = s ")"
            printf "%s(\"%s\" . %s)", (i ? " " : ""), name, s >"pkgs-all"
            printf "%s\"%s\"", (i ? " " : ""), name >"pkgs"
            if (files == "yes") { printf "%s", s >("pkg/" name); close("pkg/" name) }
        }
        printf ")" >"pkgs-all"; printf ")" >"pkgs"
    }'
}


cat >edit.rkt <<'END'
#lang racket/base
(require racket/string)
(define dir (vector-ref (current-command-line-arguments) 0))
(define sha (vector-ref (current-command-line-arguments) 1))
(define all (call-with-input-file (build-path dir "pkgs-all") read))
(define (point e)
  (define source (string-append (string-replace (hash-ref e 'source) "changed/repository" "me/fork") "#fix"))
  (hash-set* e 'source source 'checksum sha))
(define edited
  (for/hash ([(name e) all] #:when (regexp-match? #rx"github.com/changed/repository[?]" (hash-ref e 'source)))
    (define default (point (hash-ref (hash-ref e 'versions) 'default)))
    (values name (hash-set (point e) 'versions (hash-set (hash-ref e 'versions) 'default default)))))
(define (put file v) (with-output-to-file file #:exists 'truncate (lambda () (write v))))
(put (build-path dir "pkgs-all") (for/fold ([all all]) ([(name e) edited]) (hash-set all name e)))
(for ([(name e) edited]) (put (build-path dir "pkg" name) e))
END
raco make edit.rkt

mkdir full
(cd full && entries 2500)
edit="--repo changed/repository --to me/fork#fix --commit $sha"
round=0
while [ $round -lt "$rounds" ]; do
    rm -rf ours peer
    cp -r full ours
    cp -r full peer
    sync
    # shellcheck disable=SC2086  # options, in words
    timed t-ours "$bin/catalog-edit" -q $edit ours
    timed t-peer racket edit.rkt peer $sha
    # shellcheck disable=SC2086
    timed t-query "$bin/catalog-edit" -q --repo changed/repository --with-dependents --with-dependencies full
    round=$((round + 1))
done
packages=$("$bin/catalog-edit" --repo me/fork ours | wc -l)
"$bin/catalog-edit" --all ours >ours.jsonl
"$bin/catalog-edit" --all peer >peer.jsonl
sed 's/,"source_url":"[^"]*"//g' ours.jsonl >a
sed 's/,"source_url":"[^"]*"//g' peer.jsonl >b
cmp -s a b || { echo 'catalog-edit.sh: the two edits differ' >&2; exit 1; }
rm -rf mem && cp -r full mem
# shellcheck disable=SC2086
ours_mb=$(peak_mb "$bin/catalog-edit" -q $edit mem)
rm -rf mem && cp -r full mem
peer_mb=$(peak_mb racket edit.rkt mem $sha)
printf '%-58s %12s %12s\n' "2,500 full entries, medians of $rounds" catalog-edit 'racket'
awk -v packages="$packages" -v ours="$(median t-ours)" -v peer="$(median t-peer)" 'BEGIN {
    printf "%-58s %10.3f s %10.3f s %6.1f times (target: under 0.1 s)\n", "one repository (" packages " packages) in place", ours, peer, peer / ours }'
awk -v ours="$ours_mb" -v peer="$peer_mb" 'BEGIN {
    printf "%-58s %8.1f MiB %8.1f MiB %6.1f times\n", "peak memory", ours, peer, peer / ours }'
printf '%-58s %10.3f s\n' 'its lines, dependents and what these need' "$(median t-query)"

for count in 10000 50000 100000; do
    mkdir big
    (cd big && entries $count no && rmdir pkg)
    "$bin/catalog-edit" -q --all big >lines
    rm -rf big t
    # shellcheck disable=SC2086
    timed t "$bin/catalog-edit" -q $edit --match '7$' --set ring=1 <lines
    # shellcheck disable=SC2086
    printf '%d entries, lines to lines, a tenth of them edited: %.2f s, peak %s MiB\n' $count "$(median t)" \
        "$(peak_mb "$bin/catalog-edit" -q $edit --match '7$' --set ring=1 <lines)"
    rm lines
done
