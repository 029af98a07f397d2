# shellcheck shell=bash
#
# What a script needs of the machine that it runs on: packages, a Docker engine,
# a small image, an end that leaves nothing behind. Sourced by tests/run and
# deploy/quickstart; defines functions and starts nothing by itself.

# A root shell got by plain `su` has no sbin in its path, and there live dockerd,
# iptables and ip.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Where rustup puts cargo, for a shell that has not read its profile since.
PATH=$PATH:${HOME:-/root}/.cargo/bin

say() { printf '%s\n' "$*"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Milliseconds on the clock; bash alone tells them.
now_ms() {
    local micros=${EPOCHREALTIME/[.,]/}
    printf '%s' "$((micros / 1000))"
}

# `1.2 s`, since what `now_ms` said.
time_since() {
    local elapsed=$(($(now_ms) - $1))
    printf '%d.%d s' "$((elapsed / 1000))" "$((elapsed % 1000 / 100))"
}

# wait_until SECONDS COMMAND...: polls until the command succeeds; fails at the deadline.
wait_until() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now_ms)" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# Tries a connection, which is the only test for a free port that needs no package.
port_is_taken() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port that nobody listens on, from below the range that the kernel gives to
# outgoing connections.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && port_is_taken "$port"; do :; done
    printf '%s' "$port"
}

is_running() { kill -0 "$1" 2>/dev/null; }

has_ended() { ! is_running "$1"; }

# end_process PID SECONDS: asks a child to end, and insists when the time is over.
end_process() {
    is_running "$1" || return 0
    kill -TERM "$1" 2>/dev/null || true
    wait_until "$2" has_ended "$1" || kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# --- packages ---------------------------------------------------------------

# tool_is_there TOOL: whether the machine has what `packages_of TOOL` would bring.
tool_is_there() {
    case $1 in
    busybox) busybox_is_static ;;
    certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] ;;
    dockerd) command -v dockerd >/dev/null || engine_answers ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# The applets run in an image that holds nothing else, no C library either. A
# dynamic program names its loader in its first page.
busybox_is_static() {
    local path
    path=$(command -v busybox) || return 1
    busybox --list | grep -x httpd >/dev/null || return 1
    ! head -c 4096 "$path" | grep 'ld-linux\|ld-musl\|/ld64\.so\|/ld\.so' >/dev/null
}

packages_of() {
    case $1 in
    busybox) say busybox-static ;;
    cc) say gcc libc6-dev ;;
    certificates) say ca-certificates ;;
    chromedriver) package_or_older chromium-driver chromium-chromedriver ;;
    dig) package_or_older bind9-dnsutils dnsutils ;;
    dnsmasq) say dnsmasq-base ;;
    # Newer releases keep the client in a package of its own.
    docker) package_or_older docker-cli docker.io ;;
    dockerd) say docker.io ;;
    dpkg-shlibdeps) say dpkg-dev ;;
    etcd) say etcd-server ;;
    etcdctl) say etcd-client ;;
    ip) say iproute2 ;;
    kdig) say knot-dnsutils ;;
    podman) say "podman $(package_or_older netavark containernetworking-plugins)" ;;
    promtool) say prometheus ;;
    systemd-analyze) say systemd ;;
    *) say "$1" ;;
    esac
}

package_or_older() {
    if apt-cache show "$1" >/dev/null 2>&1; then say "$1"; else say "$2"; fi
}

purpose_of() {
    case $1 in
    busybox) say 'the image of the sample containers' ;;
    cc) say 'the linker for the Rust build' ;;
    chromedriver) say 'to drive that browser' ;;
    chromium) say 'the browser for the status page' ;;
    certificates) say 'to trust the servers that cargo downloads from' ;;
    curl) say 'to ask Docker and etcd over HTTP' ;;
    dig) say 'to ask for DNS records' ;;
    dnsmasq) say 'to ask a standalone HighHock as its neighbours do' ;;
    docker) say 'the Docker client' ;;
    docker-compose) say 'to make containers as Docker Compose does' ;;
    dockerd) say 'the Docker engine, as none answers' ;;
    dpkg-shlibdeps) say 'to make the Debian package' ;;
    etcd) say 'the store that HighHock writes to' ;;
    etcdctl) say "etcd's health check in the Compose file" ;;
    fish | zsh) say "to try the completions for $1" ;;
    ip) say "to find and tidy up the host's network interfaces" ;;
    kdig) say 'to ask for DNS records as another resolver does' ;;
    iptables) say "for Docker's published ports" ;;
    podman) say "the other engine that speaks Docker's API" ;;
    promtool) say 'to read metrics and alerts as Prometheus does' ;;
    runc) say 'to run containers with Podman' ;;
    systemd-analyze) say 'to check the unit for systemd' ;;
    *) say "the command $1" ;;
    esac
}

missing_tools() {
    local tool
    for tool in "$@"; do
        tool_is_there "$tool" || say "$tool"
    done
}

# install_missing TOOL...: installs what the machine lacks, and says so first.
install_missing() {
    local tools
    mapfile -t tools < <(missing_tools "$@")
    [ "${#tools[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "missing: ${tools[*]}. Only Debian and Ubuntu are set up by this script; install them and start it again."
    is_root ||
        fail "missing: ${tools[*]}. Run as root: apt-get install --no-install-recommends $(all_packages "${tools[@]}")"
    # Before the package names are worked out: a fresh machine knows none.
    say 'Some packages are missing; asking apt for the newest lists ...'
    apt_quietly update || say '(some of the lists could not be had; going on with the others)'
    announce_packages "${tools[@]}"
    # shellcheck disable=SC2046 # a list of package names, to be split
    apt_quietly install --yes --no-install-recommends $(all_packages "${tools[@]}") ||
        fail 'apt-get could not install them'
    mapfile -t tools < <(missing_tools "$@")
    [ "${#tools[@]}" -eq 0 ] || fail "still missing after the installation: ${tools[*]}"
}

all_packages() {
    local tool
    for tool in "$@"; do packages_of "$tool"; done | tr ' ' '\n' | sort -u | paste -sd ' '
}

announce_packages() {
    local tool
    say 'Installing with apt-get:'
    for tool in "$@"; do
        printf '  %-18s %s\n' "$(packages_of "$tool")" "$(purpose_of "$tool")"
    done
    case " $* " in
    *' dockerd '* | *' etcd '* | *' promtool '*)
        say '  (docker.io, etcd-server and prometheus may start services, as packages do. These stay when'
        say '  this script is done; under systemd: systemctl disable --now docker.socket docker etcd prometheus.)'
        ;;
    esac
}

# apt's own report is long and of use only when it fails. Another apt that holds the
# lock is waited for.
apt_quietly() {
    local report
    report=$(DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" 2>&1) && return
    printf '%s\n' "$report" | tail -n 30 >&2
    return 1
}

# Rust is the one thing that no package of the distribution brings new enough.
require_cargo() {
    command -v cargo >/dev/null || fail 'cargo is missing: install Rust from https://rustup.rs first'
}

# --- Docker -----------------------------------------------------------------

# Set by start_engine, read by stop_engine.
engine_pid=
engine_folder=
engine_lock=

# Whoever runs the docker client and whoever speaks HTTP must mean the same engine: the
# context of a user's client is something that only the client knows.
unset DOCKER_CONTEXT
usual_engine=unix:///var/run/docker.sock

# An engine can hang half up; a listing of it is all that its client waits for.
engine_answers() {
    command -v docker >/dev/null &&
        DOCKER_HOST=${DOCKER_HOST:-$usual_engine} timeout 10 docker ps --quiet >/dev/null 2>&1
}

engine_version() { docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})'; }

# use_engine FOLDER: the engine that answers, or one of our own with its data in the folder.
use_engine() {
    local named=${DOCKER_HOST:-}
    export DOCKER_HOST=${DOCKER_HOST:-$usual_engine}
    if ! engine_answers; then
        [ -z "$named" ] || fail "no Docker engine answers at DOCKER_HOST=$named: start it, or unset DOCKER_HOST"
        is_root || fail "no Docker engine answers at $DOCKER_HOST, and only root can start one"
        wait_for_engine_lock
        # One that was installed a moment ago may still be on its way up.
        ! engine_process >/dev/null || wait_until 30 engine_answers || refuse_second_engine
    fi
    if engine_answers; then
        say "Docker engine $(engine_version) answers at $DOCKER_HOST: using it."
    else
        start_engine "$1"
    fi
}

start_engine() {
    require_cgroups
    engine_folder=$1
    mkdir -p "$engine_folder"
    remember_network
    say "No Docker engine answers: starting one with its data in $engine_folder ..."
    launch_engine
    export DOCKER_HOST=unix://$engine_folder/docker.sock
    local start
    start=$(now_ms)
    wait_until 60 engine_is_up_or_dead || true
    engine_answers || fail_with_log 'the Docker engine did not come up' "$engine_folder/dockerd.log"
    say "Docker engine $(engine_version) is up after $(time_since "$start")."
}

# With a configuration of its own, as the machine's may name folders and sockets
# that clash with these. The lock stays with this script: an engine that outlives it
# must not hold up the next.
launch_engine() {
    printf '{}\n' >"$engine_folder/daemon.json"
    dockerd --config-file "$engine_folder/daemon.json" \
        --host "unix://$engine_folder/docker.sock" \
        --data-root "$engine_folder/data" \
        --exec-root "$engine_folder/exec" \
        --pidfile "$engine_folder/dockerd.pid" \
        </dev/null >"$engine_folder/dockerd.log" 2>&1 {engine_lock}>&- &
    engine_pid=$!
}

engine_is_up_or_dead() { has_ended "$engine_pid" || engine_answers; }

# Docker can't mount these itself, and its own message doesn't say what to do.
require_cgroups() {
    [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] ||
        fail 'no cgroups are mounted at /sys/fs/cgroup, so no Docker engine can run here. On a machine without an init system: mount -t cgroup2 none /sys/fs/cgroup'
}

# Two engines in one network namespace tear down each other's bridge, so a second
# run waits here until the first has put its engine away.
wait_for_engine_lock() {
    mkdir -p /run/lock
    exec {engine_lock}>/run/lock/highhock-engine.lock
    flock --nonblock "$engine_lock" && return
    say 'Another run has a Docker engine of its own up; waiting for it to end ...'
    flock --timeout 3600 "$engine_lock" || fail 'waited an hour for the other run'
}

refuse_second_engine() {
    fail "a dockerd runs here (process $(engine_process)) but does not answer at $DOCKER_HOST; a second one would break its network. Name its socket in DOCKER_HOST, or stop it."
}

# The id of a dockerd on this machine, by means that need no package.
engine_process() {
    local file
    file=$(grep -lxs dockerd /proc/[0-9]*/comm | head -n 1) || true
    [ -n "$file" ] && cut -d / -f 3 <<<"$file"
}

stop_engine() {
    [ -n "$engine_pid" ] || return 0
    empty_engine
    end_process "$engine_pid" 30
    engine_pid=
    unset DOCKER_HOST
    unmount_below "$engine_folder"
    rm -rf "$engine_folder"
    restore_network
    flock --unlock "$engine_lock"
}

# In an engine of our own everything is ours. Gone before the engine is told to end, it
# ends at once, and leaves no bridge but its first.
empty_engine() {
    local ids
    mapfile -t ids < <(docker ps --all --quiet 2>/dev/null)
    [ "${#ids[@]}" -eq 0 ] || docker rm --force --volumes "${ids[@]}" >/dev/null 2>&1 || true
    docker network prune --force >/dev/null 2>&1 || true
}

# The last mounted first, as mounts lie upon each other.
unmount_below() {
    local point
    while read -r _ point _; do
        case $point in "$1"/*) umount --lazy "$point" 2>/dev/null || true ;; esac
    done < <(tac /proc/mounts)
}

# An engine leaves its bridge, its packet filter rules and the forwarding that it
# switched on. What was there before it came is not ours to remove.
had_bridge=
had_rules=
had_forwarding=
had_policy=

remember_network() {
    had_bridge=$(grep -c 'docker0:' /proc/net/dev || true)
    had_rules=$(iptables-save 2>/dev/null | grep -ci docker || true)
    had_forwarding=$(cat /proc/sys/net/ipv4/ip_forward)
    had_policy=$(iptables --list-rules FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p')
}

restore_network() {
    [ "$had_bridge" -gt 0 ] || ip link delete docker0 2>/dev/null || true
    [ "$had_rules" -eq 0 ] || return 0
    remove_engine_rules
    [ "$had_forwarding" -eq 1 ] || printf '0\n' >/proc/sys/net/ipv4/ip_forward || true
    # An engine that switches forwarding on shuts everybody else out of it.
    [ -z "$had_policy" ] || iptables --policy FORWARD "$had_policy" || true
}

# Every rule and chain of the engine's has "docker" in it: its chain or its bridge.
remove_engine_rules() {
    local family
    for family in iptables ip6tables; do
        command -v "$family-save" >/dev/null || continue
        "$family-save" 2>/dev/null | grep -vi docker | "$family-restore" 2>/dev/null || true
    done
}

# make_image NAME LABEL FOLDER: an image with busybox and its applets, which takes no
# registry. The label is on every container of it.
make_image() {
    local root=$3 applet
    mkdir -p "$root/bin" "$root/tmp" "$root/etc"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
    done
    tar -C "$root" -c . | docker import --change "LABEL $2" --change 'ENV PATH=/bin' - "$1" >/dev/null
    rm -rf "$root"
}

# --- the end ----------------------------------------------------------------

fail_with_log() {
    printf '\n%s: %s. The end of %s:\n' "${0##*/}" "$1" "$2" >&2
    tail -n 40 "$2" | sed 's/^/  | /' >&2
    exit 1
}

# on_end FUNCTION: runs it however the script ends, by itself or by a signal.
on_end() {
    # shellcheck disable=SC2064 # the name of today is meant
    trap "$1" EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
