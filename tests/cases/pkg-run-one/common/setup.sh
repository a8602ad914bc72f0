# sourced by the cases: one() runs a package as a user does, with the stand-in machine
common=$CASE_DIR/../common
make_archive() { sh "$common/make-archive" "$@"; }
one() { pkg-run-one -q --recipe "$common/recipe.json" --open "$common/open" --machine m --archive archive --out out --retry-wait-s 0.01 "$@"; }
short() { jq -c '[.packages, .outcome, .cause, .blame.code, .blame.chain, .blame.message]'; }
