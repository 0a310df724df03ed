# shellcheck shell=sh
#
# What is built names no folder of the machine that it was built on, and so is the same wherever it is built. Sourced by
# scripts, and by config.make, debian/rules and packaging/intermission.spec, which sh runs.
#
#     remap_paths SOURCE    has rustc write other names for SOURCE, for the folder that cargo builds in, and for cargo's own

remap_paths() {
    _flags=''
    # cargo does not look at RUSTFLAGS where there is CARGO_ENCODED_RUSTFLAGS, which alone can have a path with a blank.
    for _flag in ${RUSTFLAGS:-}; do _remap_add "$_flag"; done
    # Of two that fit, the later one counts.
    _remap_add "--remap-path-prefix=$1=/intermission"
    _remap_add "--remap-path-prefix=${CARGO_TARGET_DIR:-$1/target}=/target"
    _remap_add "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    export CARGO_ENCODED_RUSTFLAGS="$_flags"
}

_remap_add() { _flags=$_flags${_flags:+$(printf '\037')}$1; }
