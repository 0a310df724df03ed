# shellcheck shell=bash
#
# Fresh systems of Debian to try things in. Sourced after common.sh; root only.
#
#     root_new VARIABLE SUITE    sets VARIABLE to the folder of a new one, which is removed when the script ends
#     debian_mirror              says where the packages of all suites are, by the apt of this machine
#     root_run FOLDER [--alone] [--bind FROM=TO]… -- COMMAND…
#                                runs a command in it, with processes of its own, which end with it; --alone: with a network
#                                of its own, too, which has nothing but loopback
#     root_run_script FOLDER MADE NAME ARGUMENTS…
#                                runs a script of this repository in it, which leaves what it makes in MADE; with cargo
#                                and rustc of here behind those of the system

root_new() {
    local archive=$TARGET/roots/$2.tar
    local -n _root=$1
    [[ -f $archive ]] || _root_download "$2" "$archive"
    _root=$(mktemp -d "$TARGET/roots/$2.XXXXXX")
    at_exit rm -rf --one-file-system -- "$_root"
    tar -C "$_root" -xf "$archive"
    # It need not outlive a power failure.
    echo force-unsafe-io >"$_root/etc/dpkg/dpkg.cfg.d/unsafe-io"
    # It finds and trusts whom this machine does.
    cp -L -- /etc/resolv.conf "$_root/etc/resolv.conf"
    cp -L -- /etc/ssl/certs/ca-certificates.crt "$_root/etc/ssl/certs/ca-certificates.crt"
}

_root_download() {
    local mirror options=() option
    mkdir -p -- "${2%/*}"
    mirror=$(debian_mirror)
    # Whether lists that are past their date are taken is for this machine to say.
    option=$(apt-config dump --format '%f "%v";%n' Acquire::Check-Valid-Until)
    [[ -z $option ]] || options=(--aptopt="$option")
    say "Making a fresh $1"
    run mmdebstrap --quiet --format=tar --variant=minbase --include=ca-certificates "${options[@]}" "$1" "$2.part" "$mirror" ||
        die "a system of $1 could not be made"
    mv -- "$2.part" "$2"
}

debian_mirror() {
    local mirror
    _apt_update
    # shellcheck disable=SC2016  # apt's own words
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
    [[ -n $mirror ]] || die "the apt of this machine does not say where Debian's packages are"
    printf '%s\n' "$mirror"
}

root_run() {
    local root=$1 network=() binds=()
    shift
    while [[ $1 != -- ]]; do
        case $1 in
            --alone) network=(--net) ;;
            --bind)
                binds+=("$2")
                shift
                ;;
        esac
        shift
    done
    shift
    # The mounts are in a namespace of their own, and so are gone with it.
    unshare --mount --pid --fork --kill-child "${network[@]}" -- \
        bash -c "$(declare -f _root_enter); _root_enter \"\$@\"" - "$root" "${network[*]}" "${#binds[@]}" "${binds[@]}" "$@"
}

root_run_script() {
    local root=$1 made=$2 script=$3 registry=${CARGO_HOME:-$HOME/.cargo}/registry
    shift 3
    mkdir -p -- "$root/intermission" "$root/root/.cargo/registry" "$root/opt/rust" "$TARGET" "$made" "$registry"
    # With /tmp of here, where tests say by locks which ports they have.
    # shellcheck disable=SC2153  # ROOT is the repository
    root_run "$root" --bind "$ROOT=/intermission" --bind "$made=/intermission/target" --bind /tmp=/tmp \
        --bind "$registry=/root/.cargo/registry" --bind "$(rustc --print sysroot)=/opt/rust" -- \
        env -u CARGO_HOME -u RUSTUP_HOME -u INTERMISSION_APT_UPDATED HOME=/root PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/opt/rust/bin \
        "/intermission/scripts/$script" "$@"
}

_root_enter() {
    set -e
    local root=$1 alone=$2 count=$3 pair
    shift 3
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for pair in "${@:1:count}"; do
        mount --bind "${pair%%=*}" "$root${pair#*=}"
    done
    shift "$count"
    [[ -z $alone ]] || ip link set lo up
    exec chroot "$root" "$@"
}
