# shellcheck shell=bash
#
# Which nginx a module is for, and the source to build it against. Sourced after common.sh.
#
#     nginx_read FILE           runs FILE -V and sets NGINX (its absolute path), NGINX_ABOUT (what -V says),
#                               NGINX_NAME ("nginx"), NGINX_VERSION ("1.22.1") and NGINX_ARGUMENTS (those of its
#                               configure, an array)
#     nginx_source [DIR]        finds the source for it, in DIR or wherever there is one, configures it if that was not
#                               done before, and sets NGINX_SOURCE_DIR and NGINX_BUILD_DIR; dies if there is none
#     nginx_vendored            builds nginx itself from the vendored source, unless that was done before, and sets
#                               NGINX and the rest as the two above do
#     nginx_accepts MODULE      true if the nginx that was read loads MODULE; if not, shows what it says

VENDORED_TREE=$TARGET/nginx-src
VENDORED_PREFIX=$TARGET/nginx
VENDORED_OPTIONS=(--with-cc-opt='-g -O2')

# nginx_sanitize              lets nginx_vendored build an nginx of its own that finds accesses to memory that is not
#                             there any more: with AddressSanitizer, and without nginx's pools, in which such memory hides
nginx_sanitize() {
    VENDORED_TREE=$TARGET/sanitized-src
    VENDORED_PREFIX=$TARGET/sanitized
    # nginx leaves it to its end to free what lives as long as it does: that is no leak.
    export ASAN_OPTIONS=detect_leaks=0
    VENDORED_OPTIONS=(
        --with-cc-opt='-g -O1 -fno-omit-frame-pointer -fsanitize=address -DNGX_DEBUG_PALLOC=1'
        --with-ld-opt='-fsanitize=address'
    )
}

# Headers and tools that every nginx source needs to be configured and bindgen to read it.
NGINX_BUILD_PACKAGES=(gcc libc6-dev make libclang-dev libpcre2-dev libssl-dev zlib1g-dev)

nginx_read() {
    NGINX=$(realpath -e -- "$1" 2>/dev/null) || die "there is no file $1"
    [[ -x $NGINX && -f $NGINX ]] || die "$1 is not a program"
    NGINX_ABOUT=$("$NGINX" -V 2>&1) || die "$NGINX -V failed:" "$NGINX_ABOUT"
    [[ $NGINX_ABOUT != Angie\ version:* ]] || _no_angie "$NGINX is Angie"
    NGINX_NAME=$(sed -n 's,^nginx version: \([^/]*\)/.*,\1,p' <<<"$NGINX_ABOUT")
    NGINX_VERSION=$(sed -n 's,^nginx version: [^/]*/\([^ ]*\).*,\1,p' <<<"$NGINX_ABOUT")
    [[ -n $NGINX_VERSION ]] || die "$NGINX does not look like nginx: its -V names no version"
    # xargs undoes the quotes that -V shows around values.
    mapfile -t NGINX_ARGUMENTS < <(sed -n 's/^configure arguments: *//p' <<<"$NGINX_ABOUT" | xargs -r printf '%s\n')
}

nginx_source() {
    local from=${1:-} what='' copy
    if [[ -n $from ]]; then
        from=$(realpath -e -- "$1" 2>/dev/null) || die "--source $1: there is no such folder"
        [[ ! -f $from/src/core/angie.h ]] || _no_angie "--source $1 is the source of Angie"
        [[ -f $from/src/core/nginx.h ]] || die "--source $1 is not nginx's source: it has no src/core/nginx.h"
        _same_version "$from"
        NGINX_SOURCE_DIR=$from NGINX_BUILD_DIR=$from/objs
        [[ ! -f $from/objs/Makefile || ! -f $from/objs/ngx_auto_config.h ]] || return 0
        what="the source in $from"
    fi
    # The copy's name says what it is for, so that the same nginx finds it again and another one gets its own.
    copy=$TARGET/configured/$NGINX_VERSION-$(_identity "$from")
    if [[ ! -f $copy/.configured ]]; then
        [[ -n $from ]] || _choose_source
        _same_version "$from"
        _configure_copy "$from" "$copy" "$what"
    fi
    NGINX_SOURCE_DIR=$copy NGINX_BUILD_DIR=$copy/objs
}

_no_angie() {
    die "$1, for which this module cannot be built" \
        "Angie asks of each module a signature and a field of its own, which the bindings to nginx do not have."
}

# Sets `from` and `what` for nginx_source.
_choose_source() {
    if _distribution_source; then
        from=/usr/share/nginx/src what="the package nginx-dev"
    elif [[ $NGINX_NAME == nginx && $NGINX_VERSION == "$(vendored_version)" ]]; then
        from=$(_vendored_folder) what="the vendored source"
    else
        _no_source
    fi
}

# A short hash over all that the choice of the source depends on.
_identity() {
    {
        printf '%s\n' "$ROOT" "$NGINX" "$NGINX_ABOUT" "$(_package_of "$NGINX")" "$1"
        [[ -z $1 ]] || cat -- "$1/src/core/nginx.h"
    } | sha256sum | cut -c 1-12
}

# The module must be built from the very version that loads it, so this is looked at before anything is built.
_same_version() {
    local version
    version=$(_source_version "$1")
    # OpenResty and others put a part of their own behind nginx's version.
    [[ $version == "$NGINX_VERSION" || ($NGINX_NAME != nginx && $NGINX_VERSION == "$version".*) ]] ||
        die "the source in $1 is nginx $version, but $NGINX is $NGINX_NAME $NGINX_VERSION, which would refuse the module." \
            "Give the source of $NGINX_VERSION with --source DIR, or another nginx with --nginx FILE."
}

_source_version() { sed -n 's/^#define NGINX_VERSION  *"\(.*\)"/\1/p' "$1/src/core/nginx.h"; }

# The Debian package that a file is from, and its version without the suffix of a rebuild; nothing if there is none.
_package_of() {
    has dpkg-query || return 0
    local package
    package=$(dpkg-query -S "$1" 2>/dev/null | sed -n '1s/:.*//p')
    [[ -z $package ]] || dpkg-query -W -f '${Package} ${source:Version}\n' "$package"
}

# Succeeds with nginx-dev installed if this nginx is the distribution's and there is an nginx-dev of just its version.
_distribution_source() {
    local version
    version=$(_package_of "$NGINX")
    version=${version#* }
    [[ -n $version ]] || return 1
    if [[ $(dpkg-query -W -f '${db:Status-Status} ${source:Version}' nginx-dev 2>/dev/null) != "installed $version" ]]; then
        apt_offers nginx-dev "$version" || return 1
        need_packages "nginx-dev=$version"
    fi
    [[ -f /usr/share/nginx/src/src/core/nginx.h ]]
}

_no_source() {
    local hints=("Looked for: the package nginx-dev of the same version, and the vendored source ($(vendored_version)).")
    if [[ $NGINX_NAME != nginx ]]; then
        hints+=("Unpack the source of $NGINX_NAME $NGINX_VERSION, and give the nginx folder inside with --source DIR.")
    else
        if has dpkg-query && dpkg-query -S "$NGINX" >/dev/null 2>&1; then
            hints+=("If the package is only out of date, apt-get install nginx nginx-dev brings both to one version." \
                "If there is no nginx-dev for it: apt-get source nginx, and then --source nginx-$NGINX_VERSION")
        fi
        hints+=("Else unpack nginx-$NGINX_VERSION.tar.gz, from nginx.org, and give it with --source nginx-$NGINX_VERSION")
    fi
    hints+=("It need not be configured: that is done in a copy, with the arguments that $NGINX -V shows.")
    die "there is no source for $NGINX, which is $NGINX_NAME $NGINX_VERSION" "${hints[@]}"
}

_configure_copy() {
    local from=$1 copy=$2 what=$3 arguments
    need_packages "${NGINX_BUILD_PACKAGES[@]}"
    say "Configuring $what for $NGINX ($NGINX_NAME $NGINX_VERSION)"
    _portable_arguments
    _copy_source "$from" "$copy"
    _configure "$copy" "${arguments[@]}" ||
        die "configuring $what failed; the end of $copy/configure.log:" "" "$(tail -n 15 "$copy/configure.log")"
    touch "$copy/.configured"
}

_copy_source() {
    rm -rf -- "$2"
    mkdir -p -- "$2"
    cp -R -- "$1/." "$2"
    chmod -R u+w -- "$2"
    rm -rf -- "$2/objs"
}

_configure() (
    cd -- "$1" || exit
    configure=configure
    [[ -f $configure ]] || configure=auto/configure
    shift
    sh "$configure" "$@" >configure.log 2>&1
)

# Sets `arguments` to those of nginx -V but for what cannot be repeated here and does not change how nginx lays out its
# memory: modules of others, modules that are files of their own, and libraries that were built along with it.
_portable_arguments() {
    local argument
    arguments=()
    for argument in "${NGINX_ARGUMENTS[@]}"; do
        case $argument in
            --add-module=* | --add-dynamic-module=*) ;;
            --with-http_*_module=dynamic | --with-stream_geoip_module=dynamic) ;;
            --with-openssl=* | --with-openssl-opt=* | --with-zlib=* | --with-zlib-opt=* | --with-zlib-asm=*) ;;
            --with-pcre=* | --with-pcre-opt=*) ;;
            --with-cc=*) ! has "${argument#*=}" || arguments+=("$argument") ;;
            --builddir=*) ;;
            *) arguments+=("$argument") ;;
        esac
    done
}

vendored_version() { sed -n '/^name = "nginx-src"$/{n;s/^version = ".*+\(.*\)"$/\1/p}' "$ROOT/Cargo.lock"; }

_vendored_folder() {
    need_rust
    local manifest
    manifest=$(cd -- "$ROOT" && cargo metadata --quiet --format-version 1 --features vendored |
        grep -o '"manifest_path":"[^"]*/nginx-src-[^"]*/Cargo.toml"' | head -n 1 | cut -d '"' -f 4)
    [[ -n $manifest ]] || die "cargo did not find the crate nginx-src, which brings the vendored source"
    printf '%s\n' "${manifest%/Cargo.toml}/nginx"
}

nginx_vendored() {
    local wanted arguments=(
        --prefix="$VENDORED_PREFIX"
        "${VENDORED_OPTIONS[@]}"
        --with-compat
        --with-debug
        --with-pcre-jit
        --with-threads
        --with-http_addition_module
        --with-http_auth_request_module
        --with-http_dav_module
        --with-http_gunzip_module
        --with-http_gzip_static_module
        --with-http_random_index_module
        --with-http_realip_module
        --with-http_secure_link_module
        --with-http_slice_module
        --with-http_ssl_module
        --with-http_stub_status_module
        --with-http_sub_module
        --with-http_v2_module
        --with-http_v3_module
        --with-stream
        --with-stream_realip_module
        --with-stream_ssl_module
        --with-stream_ssl_preread_module
    )
    wanted=$(printf '%s\n' "$(vendored_version)" "${arguments[@]}")
    if [[ ! -x $VENDORED_PREFIX/sbin/nginx || $(cat "$VENDORED_TREE/.installed" 2>/dev/null) != "$wanted" ]]; then
        need_packages "${NGINX_BUILD_PACKAGES[@]}"
        _make_vendored "${arguments[@]}"
        printf '%s\n' "$wanted" >"$VENDORED_TREE/.installed"
    fi
    nginx_read "$VENDORED_PREFIX/sbin/nginx"
    # shellcheck disable=SC2034  # the result
    NGINX_SOURCE_DIR=$VENDORED_TREE NGINX_BUILD_DIR=$VENDORED_TREE/objs
    _same_version "$VENDORED_TREE"
}

_make_vendored() {
    local folder log=$VENDORED_TREE/make.log
    folder=$(_vendored_folder)
    say "Building nginx $(vendored_version) from the vendored source, to $VENDORED_PREFIX"
    _copy_source "$folder" "$VENDORED_TREE"
    if ! _configure "$VENDORED_TREE" "$@"; then
        warn "with HTTP/3 it cannot be configured; trying without, as the TLS library may not allow it"
        _configure "$VENDORED_TREE" "${@/#--with-http_v3_module/--with-http_v2_module}" ||
            die "configuring it failed; the end of $VENDORED_TREE/configure.log:" \
                "" "$(tail -n 15 "$VENDORED_TREE/configure.log")"
    fi
    rm -rf -- "$VENDORED_PREFIX"
    make -C "$VENDORED_TREE" -j "$(nproc)" install >"$log" 2>&1 ||
        die "building it failed; the end of $log:" "" "$(tail -n 15 "$log")"
}

nginx_accepts() {
    local module=$1 folder path config said
    temp_dir folder
    # Every temporary path is in the folder, so that this works for who may not write to nginx's own.
    config=("load_module $module;" "pid $folder/pid;" "events {}" "http {" "access_log off;"
        "client_body_temp_path $folder/client_body;")
    for path in proxy fastcgi uwsgi scgi; do
        [[ " ${NGINX_ARGUMENTS[*]} " == *" --without-http_${path}_module "* ]] ||
            config+=("${path}_temp_path $folder/$path;")
    done
    printf '%s\n' "${config[@]}" "}" >"$folder/nginx.conf"
    said=$("$NGINX" -t -e stderr -p "$folder" -c "$folder/nginx.conf" 2>&1) && return 0
    printf '%s\n' "$said" >&2
    return 1
}
