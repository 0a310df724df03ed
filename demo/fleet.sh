# shellcheck shell=bash disable=SC2034,SC2154
# Beside scripts/demo, whose functions it uses.
#
# The fleet of ./scripts/demo --fleet: a load balancer, three nginxes with an agent each, an etcd, an application with a
# PostgreSQL and its replica.

NODES=(one two three)
declare -A port_of=()
dir='' postgres='' folder='' begun=''
etcd=()

demo_fleet() {
    need_packages etcd-server postgresql python3 python3-psycopg2
    "$ROOT/scripts/build"
    need_commands curl:curl httperf:httperf setpriv:util-linux
    local verdict=0
    temp_dir dir
    chmod 711 "$dir"
    at_exit stop_fleet
    postgres=$(find_postgres) || die "there is no PostgreSQL"
    start_fleet

    say "A PostgreSQL switch-over under load, at ${#NODES[@]} nginxes"
    switch_over_under_load || verdict=$?

    say "A node is cut off while a command runs"
    cut_a_node_off || verdict=$?
    [[ -n $1 ]] || leave_fleet_running
    return "$verdict"
}

start_fleet() {
    local name
    for name in lb "${NODES[@]}" app etcd peers primary replica; do
        port_of[$name]=$(another_port)
    done
    etcd=(--etcd "http://127.0.0.1:${port_of[etcd]}")
    start_etcd
    start_database
    local python=python3
    python3 -c 'import psycopg2' 2>/dev/null || python=/usr/bin/python3
    "$python" "$ROOT/t/recipes/app.py" --port "${port_of[app]}" --database "$(of_app)" \
        >"$dir/app.log" 2>&1 &
    processes[app]=$!
    local behind=''
    for name in "${NODES[@]}"; do
        start_node "$name" on "server 127.0.0.1:${port_of[app]};"
        start_agent "$name"
        behind+=" server 127.0.0.1:${port_of[$name]};"
    done
    start_node lb off "$behind"
    wait_for "$PATIENCE_SECONDS" curl -fs -o /dev/null "http://127.0.0.1:${port_of[lb]}/up" ||
        die "the application does not answer" "$(tail "$dir/app.log")"
}

# One that none of the others has.
another_port() {
    local port
    while
        port=$(free_port)
        [[ " ${port_of[*]-} " == *" $port "* ]]
    do :; done
    printf '%s\n' "$port"
}

start_etcd() {
    local url=http://127.0.0.1:${port_of[etcd]} peers=http://127.0.0.1:${port_of[peers]}
    etcd --name demo --data-dir "$dir/etcd" --listen-client-urls "$url" --advertise-client-urls "$url" \
        --listen-peer-urls "$peers" --initial-advertise-peer-urls "$peers" --initial-cluster "demo=$peers" \
        >"$dir/etcd.log" 2>&1 &
    processes[etcd]=$!
    wait_for "$PATIENCE_SECONDS" curl -fs -o /dev/null "$url/health" || die "etcd does not answer" "$(tail "$dir/etcd.log")"
}

# NAME, whether it has the gate, and what is behind it.
start_node() {
    local config at=$dir/$1
    mkdir -- "$at"
    config=$(<"$ROOT/demo/fleet.conf.in")
    config=${config//@MODULE@/"$MODULE"}
    config=${config//@DIR@/"$at"}
    config=${config//@PORT@/${port_of[$1]}}
    config=${config//@GATE@/$2}
    config=${config//@BEHIND@/$3}
    printf '%s\n' "$config" >"$at/nginx.conf"
    nginx -e "$at/error.log" -p "$at" -c "$at/nginx.conf" -g 'daemon off;' &
    processes[$1]=$!
    wait_for "$PATIENCE_SECONDS" test -S "$at/control.sock" || die "nginx does not start" "$(tail "$at/error.log")"
}

start_agent() {
    "$INTERMISSION" agent "${etcd[@]}" --node "$1" --url "unix:$dir/$1/control.sock:/intermission" \
        2>"$dir/$1/agent.log" &
    processes[agent_$1]=$!
    wait_for "$PATIENCE_SECONDS" grep -qs 'is part of the fleet' "$dir/$1/agent.log" ||
        die "the agent does not start" "$(cat "$dir/$1/agent.log")"
}

find_postgres() {
    local programs
    programs=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    [[ -x $programs/initdb ]] && printf '%s\n' "$programs"
}

# A command line of PostgreSQL for a shell: not as root, which it refuses.
of_postgres() {
    local as=()
    ((EUID != 0)) || as=(setpriv --reuid=postgres --regid=postgres --clear-groups --reset-env)
    printf '%q ' ${as+"${as[@]}"} "$postgres/$1" "${@:2}"
}

start_of() {
    of_postgres pg_ctl start -w -D "$dir/$1/data" -l "$dir/$1/log" -o \
        "-p ${port_of[$1]} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    printf '>/dev/null'
}

stop_of() {
    of_postgres pg_ctl stop -w -m fast -D "$dir/$1/data"
    printf '>/dev/null'
}

where_is() { printf 'host=127.0.0.1 port=%s user=postgres dbname=postgres' "${port_of[$1]}"; }

ask() { psql --no-psqlrc -AtqX --dbname "$(where_is "$1")" --command "$2"; }

start_database() {
    local name
    for name in primary replica; do
        mkdir -- "$dir/$name"
        ((EUID != 0)) || chown postgres: "$dir/$name"
    done
    eval "$(of_postgres initdb --no-sync --auth=trust --username=postgres --locale=C "$dir/primary/data")" \
        >"$dir/initdb.log" 2>&1 || die "there can be no database" "$(tail "$dir/initdb.log")"
    eval "$(start_of primary)"
    ask primary 'CREATE TABLE orders (ref integer)'
    eval "$(of_postgres pg_basebackup --no-sync --checkpoint=fast --write-recovery-conf --create-slot --slot=replica \
        "--dbname=$(where_is primary)" "--pgdata=$dir/replica/data")"
    eval "$(start_of replica)"
}

# libpq looks for the one of the two that takes writes.
of_app() {
    printf 'host=127.0.0.1,127.0.0.1 port=%s,%s user=postgres dbname=postgres target_session_attrs=read-write' \
        "${port_of[primary]}" "${port_of[replica]}"
}

run_fleet() { "$INTERMISSION" run --fleet shop "${etcd[@]}" --nodes "${#NODES[@]}" "$@"; }

switch_over_under_load() {
    folder=$dir
    requests 1 "$REQUESTS" | sed '/^$/!s/ method=POST.*$//; /^$/!s/$/ method=POST/' >"$folder/requests"
    begun=${EPOCHREALTIME/./}
    start_load "${port_of[lb]}"
    step "$RATE orders a second, over all nginxes in turn"
    sleep "$CALM_SECONDS"
    OLD=$(where_is primary) NEW=$(where_is replica) STOP_OLD=$(stop_of primary) START_OLD=$(start_of primary) \
        run_fleet --drain 20s -- "$ROOT/docs/recipes/postgres-switchover" || die "the switch-over failed"
    step "the switch-over is over"
    wait "${processes[load]}" || die "httperf failed" "$(tail "$folder/load.err")"
    local answered stored
    answered=$(sed -n 's/^Reply status: .* 2xx=\([0-9]*\) .*/\1/p' "$folder/load.out")
    stored=$(ask replica 'SELECT count(*), count(DISTINCT ref) FROM orders')
    step "$REQUESTS orders, $((REQUESTS - answered)) failed; rows in the new primary, and different ones: ${stored/|/, }"
    [[ $answered == "$REQUESTS" && $stored == "$REQUESTS|$REQUESTS" ]]
}

# An agent that is stopped is for all others one that cannot be reached.
cut_a_node_off() {
    local told=$dir/told run status=0
    run_fleet --for 15s --on-loss stop -- sleep 60 2>"$told" &
    run=$!
    processes[run]=$run
    wait_for "$PATIENCE_SECONDS" grep -q 'running sleep' "$told" || die "the fleet is not paused" "$(cat "$told")"
    begun=${EPOCHREALTIME/./}
    step "paused at all; the agent of node three is stopped now"
    kill -STOP "${processes[agent_three]}"
    wait_for "$PATIENCE_SECONDS" grep -q 'node three is lost' "$told" || die "nobody was told" "$(cat "$told")"
    local state
    state=$(state_at three)
    step "told, while node three is $state"
    wait "$run" || status=$?
    step "the command was stopped, and run ended with $status: node one is $(state_at one), node three $(state_at three)"
    cat "$told" >&2
    wait_for "$PATIENCE_SECONDS" is_open three || die "node three does not open"
    step "node three has opened by its deadline"
    kill -CONT "${processes[agent_three]}"
    [[ $state == paused && $status == 69 ]]
}

state_at() {
    local answer
    answer=$(curl -fsS --unix-socket "$dir/$1/control.sock" 'http://localhost/intermission/status?app=shop&format=json')
    [[ $answer =~ \"state\":\"([a-z]+)\" ]] || die "no state in $answer"
    printf '%s\n' "${BASH_REMATCH[1]}"
}

is_open() { [[ $(state_at "$1") == open ]]; }

stop_fleet() {
    local name
    kill -CONT "${processes[agent_three]:-}" 2>/dev/null || true
    for name in load run agent_one agent_two agent_three lb "${NODES[@]}" app etcd; do
        stop "$name"
    done
    for name in replica primary; do
        [[ ! -f $dir/$name/data/postmaster.pid ]] || eval "$(stop_of "$name")" || true
    done
}

leave_fleet_running() {
    cat >&2 <<EOT

Everything is still running. To try it by hand, in another terminal:

    curl -d '' 'http://127.0.0.1:${port_of[lb]}/orders?ref=5000'

    target/bin/intermission fleet watch --app shop ${etcd[*]}
                             shows all nodes again and again
    target/bin/intermission run --fleet shop ${etcd[*]} --nodes 3 -- sleep 5
                             holds at all of them while a command runs

Its files are in $dir. Ctrl-C ends everything.
EOT
    trap 'exit 0' INT TERM HUP
    wait "${processes[lb]}" || true
}
