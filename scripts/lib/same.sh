# shellcheck shell=bash
#
# Two builds of the same source, in two places, and whether they are the same. Sourced after common.sh.
#
#     lay_repository FOLDER       copies this repository there, without what was built
#     other_folder VARIABLE       as temp_dir, on another file system where there is one, with a longer name, and in it cargo/, a
#                                 home for cargo with what the real one has downloaded
#     other_place COMMAND…        runs a command as another user, with another umask, home, time zone and language, and one
#                                 compiler at a time
#     same_files FIRST SECOND     true if they are the same, byte for byte; if not, shows in what they differ: the parts of a
#                                 library, the files of a package, and the words that only one has

lay_repository() {
    mkdir -p -- "$1"
    tar -C "$ROOT" --exclude=./target --exclude=./.git --exclude=./cli/target --exclude=./benches/target -cf - . | tar -C "$1" -xf -
}

other_folder() {
    # shellcheck disable=SC2178  # the name of a variable
    local -n _other_folder=$1
    local parent
    TMPDIR=$(_other_file_system) temp_dir parent
    _other_folder=$parent/one/with/a/longer/name
    mkdir -p -- "$_other_folder/cargo"
    cp -R -- "${CARGO_HOME:-$HOME/.cargo}/registry" "$_other_folder/cargo/registry"
}

# What is built takes about a gigabyte.
_other_file_system() {
    local free
    free=$(df --output=avail -- /dev/shm 2>/dev/null | tail -n 1)
    if [[ -w /dev/shm && ${free:-0} -gt 4000000 ]]; then echo /dev/shm; else echo "${TMPDIR:-/tmp}"; fi
}

other_place() {
    local user=()
    # Whatever is one's own stays so under another number.
    ! unshare --user --map-user=4711 --map-group=4711 true 2>/dev/null || user=(unshare --user --map-user=4711 --map-group=4711 --)
    (
        umask 027
        "${user[@]}" env HOME="$PWD" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" LC_ALL=C LANG=tr_TR.UTF-8 TZ=UTC-14 \
            CARGO_BUILD_JOBS=1 DEB_BUILD_OPTIONS=parallel=1 "$@"
    )
}

same_files() {
    ! cmp --silent -- "$1" "$2" || return 0
    warn "two builds made two files of ${1##*/}"
    case $1 in
        *.deb) _packages_differ "$1" "$2" ;;
        *) _words_differ "$1" "$2" ;;
    esac >&2
    return 1
}

_packages_differ() {
    local folder file
    temp_dir folder
    dpkg-deb --raw-extract "$1" "$folder/first"
    dpkg-deb --raw-extract "$2" "$folder/second"
    diff <(dpkg-deb --contents "$1") <(dpkg-deb --contents "$2") || true
    while IFS= read -r -d '' file; do
        cmp --silent -- "$folder/first/$file" "$folder/second/$file" || _words_differ "$folder/first/$file" "$folder/second/$file"
    done < <(cd -- "$folder/first" && find . -type f -print0)
}

_words_differ() {
    printf '%s:\n' "${1##*/}"
    _parts_differ "$1" "$2"
    comm -23 <(_words "$1") <(_words "$2") | sed -n '1,10s/^/  only in the first:  /p'
    comm -13 <(_words "$1") <(_words "$2") | sed -n '1,10s/^/  only in the second: /p'
}

_words() { strings -a -n 8 -- "$1" | sort -u; }

# Nothing where a file is no library.
_parts_differ() {
    local part
    readelf -SW -- "$1" 2>/dev/null | sed -n 's/^ *\[ *[0-9]*\] \(\.[^ ]*\) .*/\1/p' | while read -r part; do
        cmp --silent -- <(_part "$1" "$part") <(_part "$2" "$part") || printf '  %s\n' "$part"
    done
}

_part() { readelf --hex-dump="$2" -- "$1" 2>/dev/null | tail -n +2; }
