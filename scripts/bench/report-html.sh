#!/bin/sh
# report-html.sh - the report of a made-up run of PACKAGES (20,000) packages on both sides: time and peak memory of the first
# writing, of one with nothing new, and of one with a single new result; size of the pages; with chromium, how long the page of
# all packages takes to become usable; and what cp takes for the same files, the limit of the place.
# Works in memory (/dev/shm) unless TMPDIR says otherwise, so that the program is measured and not a disk: on ext4 making the files
# alone has taken from half a second to four. Targets: 3 s, 300 MB, 1 s. BIN: where the programs are (target/release of the checkout).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/bench/timing
. "$here/timing"
bin=${BIN:-$here/../../target/release}
packages=${PACKAGES:-20000}
dir=${DIR:-$(in_memory report-html)}
report=$dir/report.$$
finish() { if [ -n "${DIR:-}" ]; then rm -rf "$report" "$report.cp"; else rm -rf "$dir"; fi; }
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

test -d "$dir/new" || awk -v N="$packages" -v DIR="$dir" -f "$here/report-html.awk"
# a fresh directory, never one just removed: ext4 is slow to make files again where it has removed many
run() {
    command time -f "$1: %e s (%U user, %S system), %M KB" "$bin/report-html" -q --old "$dir/old" --new "$dir/new" --out "$report" >"$dir/summary.json"
}
run "first writing"
command time -f 'cp -r of it: %e s (%U user, %S system)' cp -r "$report" "$report.cp"
rm -rf "$report.cp"
run "nothing new"
first=$(find "$dir/new/out/results" -name 'p00100-lib.json')
sed 's/"wall_s":[0-9.]*}$/"wall_s":7.'$$'}/' "$first" >"$dir/one" && mv "$dir/one" "$first"
touch "$dir/stamp"
run "one new result"
printf 'files rewritten for it: %s of %s\n' "$(find "$report" -type f -newer "$dir/stamp" | wc -l)" "$(find "$report" -type f | wc -l)"
sed 's/.*"headline":"\([^"]*\)".*/\1/' "$dir/summary.json"
for page in index.html packages.html report.json; do
    printf '%s: %s bytes\n' $page "$(wc -c <"$report/$page")"
done
# the modules that tests/tests/report_html_browser.rs installs
modules=${XDG_CACHE_HOME:-$HOME/.cache}/downstream/browser
chromium=$(command -v chromium || command -v chromium-browser || true)
if [ -n "$chromium" ] && [ -d "$modules/node_modules/playwright-core" ]; then
    node "$here/../../tests/browser/usable.mjs" "$modules" "$chromium" "$report"
else
    echo 'no chromium, or no modules for it: run the browser test once'
fi
