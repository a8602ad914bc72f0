#!/bin/sh
# catalog-copy.sh - catalog-copy against raco pkg catalog-copy, in turn, on 2,500 entries with every key that the public
# index writes; then what only we can do: 100,000 entries from stream to stream. Medians of ROUNDS (7).
# Works in memory (/dev/shm) unless TMPDIR says otherwise, so that programs are compared and not disks.
# The last column compares processor time, which hardly depends on what else the machine does.
# Needs raco, python3 and GNU time. BIN: where the programs are (target/release of the checkout).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/bench/timing
. "$here/timing"
bin=$(cd "${BIN:-$here/../../target/release}" && pwd)
rounds=${ROUNDS:-7}
for need in raco python3 /usr/bin/time; do
    command -v "$need" >/dev/null || { echo "catalog-copy.sh: $need is not here" >&2; exit 69; }
done
dir=$(in_memory catalog-copy)
server=
finish() {
    test -z "$server" || kill "$server" 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PLTUSERHOME="$dir/home" HOME="$dir/home"
mkdir -p "$HOME"
cd "$dir"

# entries COUNT: a pkgs-all; the sizes of its parts are those of the public index (about 2.7 KB and 12 modules an entry)
entries() {
    awk -v count="$1" '
    function word(n) { seed = (seed * 1103515245 + 12345 + n) % 2147483648; return seed }
    function hex(n,    s) { s = ""; while (length(s) < 40) s = s sprintf("%08x", word(n)); return substr(s, 1, 40) }
    BEGIN {
        seed = 42
        printf "#hash("
        for (i = 0; i < count; i++) {
            name = sprintf("package-%06d", i); sum = hex(i); author = "author" (word(i) % 400) "@example.org"
            source = "git://github.com/" "owner" (word(i) % 500) "/racket-" name "?path=" name
            printf "%s(\"%s\" . #hash((author . \"%s\") (authors . (\"%s\"))", (i ? " " : ""), name, author, author
            printf " (build . #hash((conflicts-log . #f) (dep-failure-log . #f) (docs . ((\"main\" \"%s\" \"server/built/doc/%s/index.html\"))) (failure-log . #f) (min-failure-log . #f) (success-log . \"server/built/install/%s.txt\") (test-failure-log . #f) (test-success-log . \"server/built/test-success/%s.txt\")))", name, name, name, name
            printf " (checksum . \"%s\") (checksum-error . #f) (conflicts . ()) (date-added . %d) (dependencies . (\"base\" (\"package-%06d\" #:version \"1.%d\")", sum, 1400000000 + i, word(1) % count, i % 9
            for (d = word(2) % 6; d > 0; d--) printf " \"package-%06d\"", word(d) % count
            printf ")) (description . \"A package for measuring, number %d of %d: \\\"what it does\\\" and why\") (implies . ())", i, count
            printf " (last-checked . 1550432934) (last-edit . 1493076385) (last-updated . %d) (license . \"(Apache-2.0 OR MIT)\") (modules . (", 1500000000 + i
            for (m = 12 + word(3) % 18; m > 0; m--) printf "(lib \"%s/private/part-%d/module-%d.rkt\")%s", name, m, word(m) % 1000, (m > 1 ? " " : "")
            printf ")) (name . \"%s\") (ring . %d) (rt-dependencies . (\"base\"))", name, i % 3
            printf " (search-terms . #hasheq((:build-success: . #t) (:docs: . #t) (author:%s . #t) (ring:%d . #t) (tag-%d . #t)))", author, i % 3, word(4) % 90
            printf " (source . \"%s\") (tags . (\"tag-%d\" \"tag-%d\"))", source, word(5) % 90, word(6) % 90
            printf " (versions . #hash((default . #hasheq((checksum . \"%s\") (source . \"%s\") (source_url . \"%s\")))", sum, source, source
            if (i % 10 == 0) printf " (\"6.2\" . #hasheq((checksum . \"%s\") (source . \"%s\") (source_url . \"%s\")))", hex(i), source "#v6", source
            printf "))))"
        }
        printf ")"
    }'
}

row() {
    awk -v what="$1" -v ours="$2" -v peer="$3" -v unit="$4" -v target="${5:-}" \
        'BEGIN { printf "%-44s %9.3f %-4s %9.3f %-4s %6.1f times%s", what, ours, unit, peer, unit, peer / ours, (target == "" ? "" : " (target " target ")") }'
    test "$4" != s || awk -v ours="$(cpu ours)" -v peer="$(cpu peer)" 'BEGIN { printf "  processor %.3f s, %.3f s: %.1f times", ours, peer, peer / ours }'
    echo
}

mkdir src
entries 2500 >src/pkgs-all
"$bin/catalog-copy" -q src full >/dev/null
"$bin/catalog-copy" -q src ready.sqlite >/dev/null
mkdir www
cp src/pkgs-all www/
(cd www && exec python3 -u -m http.server --bind 127.0.0.1 0) >server.out 2>/dev/null &
server=$!
until grep -q 'http://' server.out; do sleep 0.1; done
url=$(sed -n 's/.*(\(http:[^)]*\)).*/\1/p' server.out)

# compare WHAT TARGET SOURCE DEST
compare() {
    what=$1 target=$2 from=$3 to=$4
    rm -f ours peer ours.cpu peer.cpu
    round=0
    while [ $round -lt "$rounds" ]; do
        rm -rf "ours-$to" "peer-$to"
        timed_cpu ours "$bin/catalog-copy" --no-cache "$from" "ours-$to"
        timed_cpu peer raco pkg catalog-copy "$from" "peer-$to"
        round=$((round + 1))
    done
    row "$what" "$(median ours)" "$(median peer)" s "$target"
}

printf 'in %s, load %s, %s processors\n' "${dir%/*}" "$(cut -d' ' -f1 /proc/loadavg)" "$(getconf _NPROCESSORS_ONLN)"
printf '%-44s %14s %14s\n' "2,500 full entries, medians of $rounds" catalog-copy raco
compare 'directory to directory' 25 src out
compare 'directory without pkgs-all to directory' '' full out
compare 'http to directory' 20 "$url" out
compare 'directory to SQLite' 15 src out.sqlite
compare 'SQLite to directory' 15 ready.sqlite out

rm -rf mem-ours mem-peer
row 'peak memory, directory to directory' "$(peak_mb "$bin/catalog-copy" src mem-ours)" \
    "$(peak_mb raco pkg catalog-copy src mem-peer)" MiB 8

round=0
rm -f ours peer ours.cpu peer.cpu
while [ $round -lt "$rounds" ]; do
    rm -rf cp-out ours-out
    timed_cpu ours "$bin/catalog-copy" full ours-out
    timed_cpu peer cp -r full cp-out
    round=$((round + 1))
done
awk -v ours="$(median ours)" -v peer="$(median peer)" \
    'BEGIN { printf "%-44s %9.3f s    %9.3f s    takes %.2f times as long (target 2)\n", "the same tree, against cp -r", ours, peer, ours / peer }'
printf '%-44s %9s s    %9s s\n' '  processor time' "$(cpu ours)" "$(cpu peer)"

for count in 10000 50000 100000; do
    mkdir -p "big-$count"
    entries $count >"big-$count/pkgs-all"
    "$bin/catalog-copy" -q "big-$count" - >"lines-$count"
    rm -f ours ours.cpu
    # the stream comes and goes through pipes, as in a pipeline
    timed_cpu ours sh -c "cat 'lines-$count' | '$bin/catalog-copy' - - | cat"
    printf '%d entries, lines to lines: %.2f s, peak %s MiB\n' $count "$(median ours)" \
        "$(peak_mb "$bin/catalog-copy" - - <"lines-$count")"
    rm -rf "big-$count" "lines-$count"
done
