# build.sh FILES ARCHIVE BUILT OUT PACKAGE...
set -u
. "$1/marks.sh"
. "$1/cargo.sh"
archive=$2 built=$3 out=$4
work=$PWD
shift 4
packages=$*
mark "{\"version\": \"$(cargo --version | cut -d ' ' -f 2)\"}"

fetch_all() {
    for package; do
        unpack "$archive" "$package" || return
        mark "{\"package\": \"$package\", \"dir\": \"$work/$package\"}"
    done
    for package; do
        # a lock file would hold on to the versions it was made with
        for file in "$built"/pkgs/*.tar.gz; do
            name=${file##*/}
            name=${name%.tar.gz}
            grep -qs "^name = \"$name\"$" "$package/Cargo.lock" || continue
            (cd "$package" && offline_cargo "$work" "$built" "$archive" "$packages" -- update "$name")
        done
        (cd "$package" && offline_cargo "$work" "$built" "$archive" "$packages" -- metadata --format-version 1 >/dev/null) || return
    done
}
build_all() {
    for package; do
        (cd "$package" && offline_cargo "$work" "$built" "$archive" "$packages" -- build) || return
    done
}
pack_all() {
    for package; do
        tar czf "$out/$package.tar.gz" --exclude target "$package" || return
        mark "{\"package\": \"$package\", \"file\": \"$out/$package.tar.gz\"}"
    done
}
phase resolve fetch_all "$@"
phase build build_all "$@"
phase pack pack_all "$@"
mark '{"done": true}'
