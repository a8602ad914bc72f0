#!/bin/sh
# site-serve.sh - site-serve against python3 -m http.server, in turn: 2,500 small files, one file of 100 MB, memory.
# Medians of ROUNDS (7). Needs curl and python3. BIN: where the programs are (target/release of the checkout).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$here/../../target/release}
rounds=${ROUNDS:-7}
dir=$(mktemp -d)
ours=
peer=
finish() {
    for pid in $ours $peer; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# a catalog's pkg/ directory: 2,500 files of about 1 KB, and a large installer
mkdir -p "$dir/site/pkg"
entry=$(head -c 900 /dev/zero | tr '\0' 'x')
i=0
while [ $i -lt 2500 ]; do
    printf '#hash((name . "package-%s") (description . "%s"))' $i "$entry" >"$dir/site/pkg/package-$i"
    i=$((i + 1))
done
head -c 100000000 /dev/urandom >"$dir/site/installer.sh"

"$bin/site-serve" --listen 127.0.0.1:0 --owner $$ --ready-file "$dir/ready.json" "$dir/site" >/dev/null &
ours=$!
(cd "$dir/site" && exec python3 -u -m http.server --bind 127.0.0.1 0) >"$dir/peer.out" 2>/dev/null &
peer=$!
until [ -s "$dir/ready.json" ] && grep -q 'http://' "$dir/peer.out"; do sleep 0.1; done
our_url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' "$dir/ready.json")
peer_url=$(sed -n 's/.*(\(http:[^)]*\)).*/\1/p' "$dir/peer.out")

for side in ours peer; do
    url=$our_url
    test $side = ours || url=$peer_url
    i=0
    while [ $i -lt 2500 ]; do
        printf 'url = "%spkg/package-%s"\noutput = "%s"\n' "$url" $i "$dir/got-$side"
        i=$((i + 1))
    done >"$dir/$side.conf"
done

# shellcheck source=scripts/bench/timing
. "$here/timing"
small() { curl -sSf --no-progress-meter --parallel --parallel-immediate --parallel-max 8 -K "$dir/$1.conf"; }
large() { curl -sSf -o /dev/null "$1installer.sh"; }
resident_mb() { awk '/^VmHWM/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }

round=0
while [ $round -lt "$rounds" ]; do
    for side in ours peer; do
        url=$our_url
        test $side = ours || url=$peer_url
        timed "$dir/small-$side" small $side
        timed "$dir/large-$side" large "$url"
    done
    round=$((round + 1))
done

row() {
    awk -v what="$1" -v ours="$2" -v peer="$3" -v unit="$4" \
        'BEGIN { printf "%-34s %10.3f %s   %10.3f %s   %5.1f times\n", what, ours, unit, peer, unit, peer / ours }'
}
printf '%-34s %12s   %12s\n' "medians of $rounds" site-serve python3
row '2,500 files of 1 KB, 8 at a time' "$(median "$dir/small-ours")" "$(median "$dir/small-peer")" s
row 'one file of 100 MB' "$(median "$dir/large-ours")" "$(median "$dir/large-peer")" s
row 'peak memory' "$(resident_mb $ours)" "$(resident_mb $peer)" MiB
