# shellcheck shell=bash
#
# What every script here shares. A script starts with
#
#     #!/usr/bin/env bash
#     set -euo pipefail
#     # shellcheck source=scripts/lib/common.sh
#     . "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
#
# and then has, beside the functions below:
#
#     ROOT             the repository's folder, absolute
#     TARGET           where everything that is built goes: $ROOT/target
#     LC_ALL, PATH     so that output can be compared, and cargo and the tools in sbin are found
#
# Messages go to stderr, so that the stdout of a script or function is its result.
#
#     say TEXT…                 tells what happens now
#     warn TEXT…                tells what the reader may want to change
#     die TEXT [HINT…]          tells what is wrong and, a line each, what to do about it; exits 1
#     usage                     prints the comment at the top of the running script, as its --help
#     has COMMAND               true if there is such a command
#     run COMMAND…              shows a command and runs it
#     as_root COMMAND…          runs it as root: directly, through sudo, or dies naming the command to run by hand
#     need_packages PACKAGE…    installs the Debian packages that are missing; free when none is; NAME=VERSION
#                               asks for that version. On a system without apt, or without root, it dies with the list;
#                               INTERMISSION_NO_INSTALL=1 makes it believe that everything is there
#     apt_offers PKG VERSION    true if that version of a package can be installed
#     need_commands CMD:PKG…    the same for commands that may just as well come from somewhere else than PKG
#     need_rust                 cargo and rustc of at least Cargo.toml's rust-version
#     version_at_least A B      true if version A is B or later
#     at_exit COMMAND…          runs it when the script ends, however it ends; the last one given runs first;
#                               like temp_dir for the script itself, not for use inside $( )
#     temp_dir VARIABLE         sets VARIABLE to a new temporary folder, which is removed when the script ends
#     wait_for SECONDS CMD…     tries a command ten times a second until it succeeds; false if it never did
#     stamp FILE…               a short hash over files and their names, to see whether they changed

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck disable=SC2034  # for the scripts that source this
TARGET=$ROOT/target

export LC_ALL=C.UTF-8
for dir in /usr/local/sbin /usr/sbin /sbin "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"; do
    [[ :$PATH: == *:$dir:* ]] || PATH=$PATH:$dir
done
unset dir
export PATH

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then
    _bold=$'\e[1m' _red=$'\e[1;31m' _yellow=$'\e[1;33m' _plain=$'\e[0m'
else
    _bold='' _red='' _yellow='' _plain=''
fi

say() { printf '%s==> %s%s\n' "$_bold" "$*" "$_plain" >&2; }

warn() { printf '%swarning: %s%s\n' "$_yellow" "$*" "$_plain" >&2; }

die() {
    printf '%serror: %s%s\n' "$_red" "$1" "$_plain" >&2
    shift
    (($# == 0)) || printf '       %s\n' "$@" >&2
    exit 1
}

usage() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"; }

has() { command -v -- "$1" >/dev/null 2>&1; }

run() {
    printf '  + %s\n' "$*" >&2
    "$@"
}

_can_be_root() { ((EUID == 0)) || { has sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; }; }

as_root() {
    _can_be_root || die "this needs root, and sudo cannot be used here. Run as root, and then this script again:" "$*"
    if ((EUID == 0)); then run "$@"; else run sudo -- "$@"; fi
}

_missing_packages() {
    local package known
    known=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n${db:Status-Status} ${Package}=${Version}\n' \
        "${@%%=*}" 2>/dev/null) || true
    for package; do
        grep -qxF "installed $package" <<<"$known" || printf '%s\n' "$package"
    done
}

# Lists of packages are fetched at most once, also when one script calls another.
_apt_update() {
    [[ -z ${INTERMISSION_APT_UPDATED:-} ]] || return 0
    as_root apt-get -qq -o Acquire::Retries=3 update >&2 || die "apt-get could not update its lists"
    export INTERMISSION_APT_UPDATED=1
}

need_packages() {
    [[ -z ${INTERMISSION_NO_INSTALL:-} ]] || return 0
    if ! has dpkg-query || ! has apt-get; then
        die "this is not Debian or Ubuntu, so nothing is installed by itself. Needed, by Debian's names:" "$*" \
            "When they are there, set INTERMISSION_NO_INSTALL=1 and run this again."
    fi
    local missing
    mapfile -t missing < <(_missing_packages "$@")
    ((${#missing[@]})) || return 0
    _can_be_root || die "packages are missing, and sudo cannot be used here. Run as root, and then this script again:" \
        "apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    say "Installing ${missing[*]}"
    _apt_update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        --no-install-recommends install "${missing[@]}" >/dev/null || die "apt-get could not install ${missing[*]}"
}

# Lists that are there are trusted, as they are when the package in question is already installed in another version.
apt_offers() {
    [[ -n $(apt-cache madison "$1" 2>/dev/null) ]] || _apt_update
    # How many blanks are around a version depends on apt's.
    apt-cache madison "$1" 2>/dev/null | cut -d '|' -f 2 | tr -d ' ' | grep -xF -- "$2" >/dev/null
}

need_commands() {
    local pair packages=()
    for pair; do
        has "${pair%%:*}" || packages+=("${pair#*:}")
    done
    ((${#packages[@]} == 0)) || need_packages "${packages[@]}"
    for pair; do
        has "${pair%%:*}" || die "package ${pair#*:} is installed, but there is no command ${pair%%:*}"
    done
}

version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    if ! has cargo && ! has rustc && has apt-cache; then
        _apt_update
        found=$(apt-cache policy rustc 2>/dev/null | sed -n 's/^ *Candidate: *//p')
        [[ -z $found || $found == '(none)' ]] || ! version_at_least "$found" "$wanted" || need_packages ca-certificates cargo rustc
    fi
    if ! has cargo || ! has rustc; then
        die "Rust $wanted or later is needed, and this system's packages do not have it." \
            "Install it with rustup, which rustup.rs explains, and run this again."
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    version_at_least "$found" "$wanted" ||
        die "Rust $wanted or later is needed; $(command -v rustc) is $found." "With rustup: rustup update stable"
}

_at_exit=()

_run_at_exit() {
    local status=$? i
    for ((i = ${#_at_exit[@]} - 1; i >= 0; i--)); do
        eval "${_at_exit[i]}" || true
    done
    exit "$status"
}

at_exit() {
    ((${#_at_exit[@]})) || trap _run_at_exit EXIT
    _at_exit+=("$(printf '%q ' "$@")")
}

temp_dir() {
    local -n _temp_dir=$1
    _temp_dir=$(mktemp -d "${TMPDIR:-/tmp}/intermission.XXXXXXXX")
    at_exit rm -rf -- "$_temp_dir"
}

wait_for() {
    local tries=$(($1 * 10))
    shift
    while ((tries-- > 0)); do
        ! "$@" || return 0
        sleep 0.1
    done
    return 1
}

stamp() { sha256sum -- "$@" | sha256sum | cut -c 1-12; }
