# test.sh FILES ARCHIVE BUILT PACKAGE...
set -u
. "$1/marks.sh"
. "$1/cargo.sh"
archive=$2 built=$3
work=$PWD
shift 3
packages=$*
test_all() {
    for package; do
        unpack "$built" "$package" || return
        mark "{\"package\": \"$package\", \"dir\": \"$work/$package\"}"
    done
    failed=0
    for package; do
        (cd "$package" && offline_cargo "$work" "$built" "$archive" "$packages" -- test --no-fail-fast) || failed=1
    done
    return $failed
}
phase test test_all "$@"
mark '{"done": true}'
