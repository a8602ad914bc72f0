# Sourced: cargo without a network. Crates come from ARCHIVE/vendor (made with `cargo vendor`), but those that were built
# here before come as they were built: that is how a changed dependency reaches its dependents.
offline_cargo() { # WORK BUILT ARCHIVE PACKAGES -- ARGUMENTS...
    cargo_work=$1 cargo_built=$2 cargo_archive=$3 cargo_own=$4
    shift 5
    set -- "$@" --offline
    if test -d "$cargo_archive/vendor"; then
        set -- "$@" --config 'source.crates-io.replace-with="vendored"' \
            --config "source.vendored.directory=\"$cargo_archive/vendor\""
    fi
    for cargo_file in "$cargo_built"/pkgs/*.tar.gz; do
        test -e "$cargo_file" || continue
        cargo_name=${cargo_file##*/}
        cargo_name=${cargo_name%.tar.gz}
        case " $cargo_own " in *" $cargo_name "*) continue ;; esac
        if ! test -d "$cargo_work/deps/$cargo_name"; then
            (mkdir -p "$cargo_work/deps" && cd "$cargo_work/deps" && unpack "$cargo_built" "$cargo_name") || return
        fi
        set -- "$@" --config "patch.crates-io.$cargo_name.path=\"$cargo_work/deps/$cargo_name\""
    done
    cargo "$@"
}
