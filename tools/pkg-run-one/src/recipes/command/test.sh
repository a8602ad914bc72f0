# test.sh FILES ARCHIVE BUILT PACKAGE...
# The built form in another machine: the step `test` run in it.
set -u
. "$1/marks.sh"
ARCHIVE=$2 BUILT=$3
export ARCHIVE BUILT
work=$PWD
shift 3
unpack_all() {
    for package; do
        unpack "$BUILT" "$package" || return
        mark "{\"package\": \"$package\", \"dir\": \"$work/$package\"}"
    done
}
test_all() {
    for package; do
        found=
        for file in "$ARCHIVE/steps/$package/test" "$work/$package/downstream-test" "$ARCHIVE/steps/test"; do
            test -f "$file" || continue
            found=yes
            (cd "$work/$package" && PACKAGE=$package sh -eu "$file") || return
            break
        done
        test -n "$found" || echo "$package has no step test"
    done
}
phase unpack-built unpack_all "$@"
phase test test_all "$@"
mark '{"done": true}'
