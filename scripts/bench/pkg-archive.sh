#!/bin/sh
# pkg-archive.sh - pkg-archive against raco pkg catalog-archive, in turn, on the real packages of the installed
# distribution: from directories and from http zips, first and unchanged; then 1,000 packages in 50 git repositories
# on a loopback git server, with the requests it got. Medians of ROUNDS (3).
# Needs raco, racket, git and python3. BIN: where the programs are (target/release of the checkout).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${BIN:-$here/../../target/release}" && pwd)
rounds=${ROUNDS:-3}
for need in raco racket git python3; do
    command -v "$need" >/dev/null || { echo "pkg-archive.sh: $need is not here" >&2; exit 69; }
done
pkgs=$(racket -l racket/base -l setup/dirs -e '(display (find-pkgs-dir))')
test -d "$pkgs" || { echo "pkg-archive.sh: no packages of the distribution here" >&2; exit 69; }
dir=$(mktemp -d)
servers=
finish() {
    for server in $servers; do kill "$server" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PLTUSERHOME="$dir/home" HOME="$dir/home"
mkdir -p "$HOME"
cd "$dir"

# shellcheck source=scripts/bench/timing
. "$here/timing"
row() {
    awk -v what="$1" -v ours="$(median "$2")" -v peer="$(median "$3")" -v target="$4" \
        'BEGIN { printf "%-44s %9.3f s %9.3f s %7.1f times  (target %s)\n", what, ours, peer, peer / ours, target }'
}

# compare WHAT CATALOG TARGET_FIRST TARGET_AGAIN
compare() {
    rm -f ours peer ours-again peer-again
    round=0
    while [ $round -lt "$rounds" ]; do
        rm -rf ours-out peer-out peer.sqlite home
        mkdir -p home
        timed ours "$bin/pkg-archive" -q --no-cache "$2" ours-out
        timed peer raco pkg catalog-archive --state peer.sqlite peer-out "$2"
        timed ours-again "$bin/pkg-archive" -q --no-cache "$2" ours-out
        timed peer-again raco pkg catalog-archive --state peer.sqlite peer-out "$2"
        round=$((round + 1))
    done
    row "$1, first" ours peer "$3"
    row "$1, unchanged" ours-again peer-again "$4"
}

racket -l- pkg/dirs-catalog --immediate dirs "$pkgs" >/dev/null 2>&1
count=$(find dirs/pkg -type f | wc -l)
printf '%-44s %11s %11s\n' "$count real packages, medians of $rounds" pkg-archive raco
compare directories dirs 8 30

# the zips as a snapshot site serves them
mkdir site
raco pkg catalog-archive --relative site dirs >/dev/null 2>&1 || "$bin/pkg-archive" -q --relative dirs site >/dev/null
(cd site && exec python3 -u -m http.server --bind 127.0.0.1 0) >server.out 2>/dev/null &
servers="$servers $!"
until grep -q 'http://' server.out; do sleep 0.1; done
url=$(sed -n 's/.*(\(http:[^)]*\)).*/\1/p' server.out)
compare 'http zips' "${url}catalog/" 10 ''

# 50 repositories of 20 packages, on a git server that logs every request
mkdir repos
repo=0
while [ $repo -lt 50 ]; do
    work=repos/w$repo
    mkdir "$work"
    git -c init.defaultBranch=main init -q "$work"
    package=0
    while [ $package -lt 20 ]; do
        mkdir "$work/p$package"
        printf '#lang info\n(define collection "r%dp%d")\n(define deps (list "base"))\n' $repo $package >"$work/p$package/info.rkt"
        printf '#lang racket/base\n(display %d)\n' $package >"$work/p$package/main.rkt"
        package=$((package + 1))
    done
    git -C "$work" add -A
    git -C "$work" -c user.name=b -c user.email=b@example.org commit -q -m packages
    git clone -q --bare "$work" "repos/r$repo.git"
    repo=$((repo + 1))
done
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
git -c 'safe.directory=*' daemon --verbose --export-all --reuseaddr --listen=127.0.0.1 --port="$port" \
    --base-path="$dir/repos" "$dir/repos" 2>daemon.log &
servers="$servers $!"
sleep 1
repo=0
while [ $repo -lt 50 ]; do
    commit=$(git -C "repos/r$repo.git" rev-parse HEAD)
    package=0
    while [ $package -lt 20 ]; do
        printf '{"kind":"package","v":1,"name":"r%dp%d","source":"git://127.0.0.1:%d/r%d.git?path=p%d#main","checksum":"%s"}\n' \
            $repo $package "$port" $repo $package "$commit"
        package=$((package + 1))
    done
    repo=$((repo + 1))
done >lines
timed git "$bin/pkg-archive" -q - git-out <lines
requests=$(grep -c 'Request upload-pack' daemon.log || true)
timed git-again "$bin/pkg-archive" -q - git-out <lines
again=$(grep -c 'Request upload-pack' daemon.log || true)
awk -v first="$(cat git)" -v again="$(cat git-again)" -v n="$requests" -v more="$((again - requests))" 'BEGIN {
    printf "1,000 packages in 50 git repositories: %.2f s and %.2f requests a repository (target 2); unchanged: %.3f s and %d requests\n", first, n / 50, again, more }'
