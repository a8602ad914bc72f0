#!/bin/sh
# pkg-run-one.sh - pkg-run-one against the raco commands that pkg-build runs for each package, one process each, in the
# same sandboxes; in turn, medians of ROUNDS (5) in seconds, for a package without and one with a dependency and tests.
# Needs root or user namespaces, racket (with compiler-lib, to make the state `installed`) and jq.
# BIN: where the programs are (target/release of the checkout).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${BIN:-$here/../../target/release}" && pwd)
rounds=${ROUNDS:-5}
for need in racket jq; do
    command -v "$need" >/dev/null || { echo "pkg-run-one.sh: $need is not here" >&2; exit 69; }
done
PATH=$bin:$PATH
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$dir"
export PLTUSERHOME="$dir/home"
mkdir -p home src/leaf src/user
printf '#lang info\n(define collection "leaf")\n(define deps (quote ("base")))\n' >src/leaf/info.rkt
printf '#lang racket/base\n(provide twice)\n(define (twice x) (* 2 x))\n' >src/leaf/main.rkt
printf '#lang info\n(define collection "user")\n(define deps (quote ("base" "leaf")))\n' >src/user/info.rkt
printf '#lang racket/base\n(require leaf)\n(module+ test (unless (= 4 (twice 2)) (error "no")))\n' >src/user/main.rkt
racket -l- pkg/dirs-catalog catalog src >/dev/null
pkg-archive -q --relative catalog archive >/dev/null
echo '{"kind": "machines", "v": 1, "state_dir": "state", "machines": [{"name": "m", "driver": "sandbox"}]}' >machines.json
sh "$here/../install-racket" -q --machines machines.json m >/dev/null

ours() { pkg-run-one -q --machines machines.json --machine m --archive archive --out out "$1" | jq -e '.outcome == "pass"' >/dev/null; }

# plain PACKAGE: what pkg-build does, with the catalogs and the built package where pkg-run-one has them
vm() { vm-snapshot --state-dir state "$@"; }
inside() { vm exec "$id" --env PLTUSERHOME=/tmp/u --env PLT_PKG_BUILD_SERVICE=1 -- "$@" >>plain.log 2>&1; }
open() {
    id=$(vm-snapshot --machines machines.json open m --snapshot installed --owner $$ --share "archive=$dir/archive" --share "built=$dir/out/built" | jq -r .id)
    inside raco pkg config -u --set catalogs file:///share/built/catalog file:///share/archive/catalog
}
plain() {
    # from source first, so not what was built before
    mv "out/built/catalog/pkg/$1" saved
    open
    inside raco pkg install -u --auto "$1"
    inside racket -l racket/base -l pkg/lib -e '(for-each displayln (installed-pkg-names #:scope (quote user)))'
    inside raco setup -nxiID --check-pkg-deps --pkgs "$1"
    inside racket -l racket/base -l pkg/lib -e "(writeln (pkg-directory->additional-installs (pkg-directory \"$1\") \"$1\"))"
    inside raco pkg create --from-install --built --dest /tmp "$1"
    vm exec "$id" -- cat "/tmp/$1.zip" >built.zip
    vm close "$id"
    mv saved "out/built/catalog/pkg/$1"
    open
    inside raco pkg install -u --auto "$1"
    inside sh -c 'PLTCOLLECTS=:/usr/share/racket/downstream/test-runner exec racket -N "raco test" -l- compiler/commands/test --drdr --package "$0"' "$1"
    vm close "$id"
}
# shellcheck source=scripts/bench/timing
. "$here/timing"
ours leaf
round=0
while test "$round" -lt "$rounds"; do
    for package in leaf user; do
        timed "ours.$package" ours "$package"
        timed "plain.$package" plain "$package"
    done
    round=$((round + 1))
done
if command -v strace >/dev/null; then
    # how often Racket is started for a package, the process of each test file included
    starts() {
        me=$(exec sh -c 'echo $PPID')
        strace -f -qq -e trace=execve -o starts -p "$me" 2>/dev/null &
        tracer=$!
        sleep 1
        "$@"
        kill $tracer
        wait $tracer 2>/dev/null || true
        grep 'execve("[^"]*/racket"' starts | grep -vc ENOENT
    }
    echo "user: Racket is started $(starts ours user) times by pkg-run-one, $(starts plain user) times by the raco commands"
fi
for package in leaf user; do
    echo "$package: pkg-run-one $(spread "ours.$package") s; the raco commands $(spread "plain.$package") s"
done
