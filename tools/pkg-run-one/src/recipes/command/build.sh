# build.sh FILES ARCHIVE BUILT OUT PACKAGE...
# For each package: unpacked into its directory, then the step `build` run in it.
set -u
. "$1/marks.sh"
ARCHIVE=$2 BUILT=$3 OUT=$4
export ARCHIVE BUILT OUT
work=$PWD
shift 4

# the step of the package itself, or the one of the archive for all
step() {
    for file in "$ARCHIVE/steps/$2/$1" "$work/$2/downstream-$1" "$ARCHIVE/steps/$1"; do
        if test -f "$file"; then
            (cd "$work/$2" && PACKAGE=$2 sh -eu "$file")
            return
        fi
    done
    echo "no step $1 for $2"
    return 1
}
each() {
    each_step=$1
    shift
    for package; do "$each_step" "$package" || return; done
}
unpack_one() { unpack "$ARCHIVE" "$1" && mark "{\"package\": \"$1\", \"dir\": \"$work/$1\"}"; }
build_one() { step build "$1"; }
pack_one() {
    test -e "$OUT/$1.zip" || test -e "$OUT/$1.tar.gz" || tar czf "$OUT/$1.tar.gz" -C "$work" "$1" || return
    for file in "$OUT/$1.zip" "$OUT/$1.tar.gz"; do
        test ! -e "$file" || mark "{\"package\": \"$1\", \"file\": \"$file\"}"
    done
}
phase unpack each unpack_one "$@"
phase build each build_one "$@"
phase pack each pack_one "$@"
mark '{"done": true}'
