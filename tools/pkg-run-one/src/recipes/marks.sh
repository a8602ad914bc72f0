# Marks for recipes in shell: sourced first, so that no code of a package sees the word that starts them.
MARK=$DOWNSTREAM_MARK
unset DOWNSTREAM_MARK
mark() { printf '\n%s %s\n' "$MARK" "$1"; }
stop_at() {
    test "${DOWNSTREAM_STOP-}" != "$1" || { mark "{\"stopped\": \"${1#*:}\"}"; exit 0; }
}
# phase NAME COMMAND...: one phase; a failure ends the stage
phase() {
    phase_name=$1
    shift
    stop_at "before:$phase_name"
    mark "{\"begin\": \"$phase_name\"}"
    phase_status=0
    "$@" || phase_status=$?
    mark "{\"end\": \"$phase_name\", \"exit_code\": $phase_status}"
    stop_at "after:$phase_name"
    test "$phase_status" -eq 0 || { mark '{"done": true}'; exit 1; }
}
# unpack PLACE PACKAGE: what PLACE/pkgs has of the package, into the directory PACKAGE; wrapping directories are left out
unpack() {
    mkdir -p "$2" || return
    for file in "$1/pkgs/$2" "$1/pkgs/$2".tar.gz "$1/pkgs/$2".crate "$1/pkgs/$2".tar "$1/pkgs/$2".zip; do
        test -e "$file" || continue
        case $file in
            *.zip) unzip -q "$file" -d "$2" || return ;;
            *.tar) tar xf "$file" -C "$2" || return ;;
            *.gz | *.crate) tar xzf "$file" -C "$2" || return ;;
            *) cp -R "$file/." "$2" || return ;;
        esac
        set -- "$1" "$2" "$2"/*
        if test $# -eq 3 && test -d "$3"; then
            mv "$3" "$2.inner" && rmdir "$2" && mv "$2.inner" "$2" || return
        fi
        return 0
    done
    echo "no package $2 in $1"
    return 1
}
