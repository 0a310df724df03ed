# shellcheck shell=bash
#
# Runs t/. Sourced after common.sh.
#
#     prove_nginx NGINX MODULE LOG FILE.t…    runs them with that nginx and that module, JOBS side by side, and shows what they
#                                             say, which is in LOG afterwards; installs what they need. PROVE_LIMIT is the
#                                             longest that it may take, in seconds
#     of_nginx t/FILE.t…                      of these, those that are about nginx: the command, the dashboard, the recipes and
#                                             the fleet are the same, whatever the nginx

prove_nginx() {
    local nginx=$1 module=$2 log=$3
    shift 3
    need_packages perl openssl libio-socket-ssl-perl curl python3 iproute2 util-linux
    _need_http3_client "$nginx" "$@"
    _need_neighbours "$nginx" "$@"
    _need_clock "$@"
    say "Testing with $("$nginx" -v 2>&1)"
    # Most tests wait most of the time, so a few of them share a core well.
    INTERMISSION_NGINX=$nginx INTERMISSION_MODULE=$module \
        timeout --kill-after=10 "${PROVE_LIMIT:-900}" prove --timer -j "${JOBS:-4}" "-I$ROOT/t/lib" "$@" 2>&1 | tee -- "$log"
}

# Other modules, for the distribution's nginx. Their tests say that they are skipped where nginx does not load them.
_need_neighbours() {
    [[ $1 == /usr/* ]] && grep -q 'Test::Neighbour' -- "${@:2}" || return 0
    (need_packages libnginx-mod-http-{echo,headers-more-filter,js,lua,modsecurity}) ||
        warn "there are no other modules: the module is not tested beside them"
}

# A clock that can be set. Its test says that it is skipped where it is not there.
_need_clock() {
    ! grep -q libfaketime -- "$@" || (need_packages libfaketime) || warn "there is no libfaketime: jumps of the clock are not tested"
}

# The tests of HTTP/3 say that they are skipped where nginx has none, or there is no client.
_need_http3_client() {
    local python=$TARGET/http3/bin/python
    "$1" -V 2>&1 | grep -q with-http_v3_module && grep -q 'Test::HTTP3' -- "${@:2}" || return 0
    ! "$python" -c 'import aioquic' 2>/dev/null || return 0
    need_packages python3-venv
    python3 -m venv "$TARGET/http3"
    "$python" -m pip --quiet --disable-pip-version-check install 'aioquic>=1.2,<2' ||
        warn "there is no HTTP/3 client (aioquic): HTTP/3 is not tested"
}

of_nginx() { printf '%s\n' "$@" | grep -vE '^t/(command|dashboard|recipe|fleet)_' || true; }
