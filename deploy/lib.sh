# shellcheck shell=bash
#
# Functions for scripts that set up a machine: packages, a Docker engine, a small image,
# and a complete clean-up. Sourced by deploy/quickstart, tests/run, tests/tools/build and
# .ci/run. Sourcing this file starts nothing.

# A root shell from plain `su` has no sbin folder in its path, which contains dockerd,
# iptables and ip.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# rustup installs cargo here. A shell from before the installation lacks this folder.
PATH=$PATH:${HOME:-/root}/.cargo/bin

say() { printf '%s\n' "$*"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# The time in milliseconds, from bash alone.
now_ms() {
    local micros=${EPOCHREALTIME/[.,]/}
    printf '%s' "$((micros / 1000))"
}

# time_since START: the time since START (from now_ms), such as `1.2 s`.
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

# Tests a port by connecting to it, because this test needs no package.
port_is_taken() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A free port, below the kernel's range for outgoing connections.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && port_is_taken "$port"; do :; done
    printf '%s' "$port"
}

is_running() { kill -0 "$1" 2>/dev/null; }

has_ended() { ! is_running "$1"; }

# end_process PID SECONDS: terminates a child process, and kills it after the time-out.
end_process() {
    is_running "$1" || return 0
    kill -TERM "$1" 2>/dev/null || true
    wait_until "$2" has_ended "$1" || kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# --- packages ---------------------------------------------------------------

# tool_is_there TOOL: succeeds if the packages of `packages_of TOOL` are not needed.
tool_is_there() {
    case $1 in
    busybox) busybox_is_static ;;
    certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] ;;
    dockerd) command -v dockerd >/dev/null || engine_answers ;;
    libseccomp) pkg-config --exists libseccomp 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# The image contains only busybox, without a C library, so busybox must be static. A dynamic
# program names its loader in its first page.
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
    # Newer releases have a separate package for the client.
    docker) package_or_older docker-cli docker.io ;;
    dockerd) say docker.io ;;
    dpkg-shlibdeps) say dpkg-dev ;;
    etcd) say etcd-server ;;
    etcdctl) say etcd-client ;;
    ip) say iproute2 ;;
    kdig) say knot-dnsutils ;;
    libseccomp) say libseccomp-dev ;;
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
    chromedriver) say 'to control the browser' ;;
    chromium) say 'the browser for the status page' ;;
    certificates) say 'to trust the servers that cargo downloads from' ;;
    curl) say 'for HTTP requests to Docker and etcd' ;;
    dig) say 'for DNS queries' ;;
    dnsmasq) say 'a resolver that queries a standalone HighHock' ;;
    docker) say 'the Docker client' ;;
    docker-compose) say 'to start containers with Docker Compose' ;;
    dockerd) say 'the Docker engine, because none is running' ;;
    dpkg-shlibdeps) say 'to build the Debian package' ;;
    etcd) say 'the store that HighHock writes to' ;;
    etcdctl) say "etcd's health check in the Compose file" ;;
    fish | zsh) say "to test the completions for $1" ;;
    ip) say "to list and clean up network interfaces" ;;
    kdig) say 'for DNS queries with another resolver' ;;
    iptables) say "for Docker's published ports" ;;
    libseccomp | pkg-config) say 'to build runc' ;;
    podman) say "the other engine with Docker's API" ;;
    promtool) say 'to check metrics and alerts' ;;
    runc) say 'to run containers with Podman' ;;
    systemd-analyze) say 'to check the systemd unit' ;;
    *) say "the command $1" ;;
    esac
}

missing_tools() {
    local tool
    for tool in "$@"; do
        tool_is_there "$tool" || say "$tool"
    done
}

# install_missing TOOL...: announces and installs the packages of missing tools.
install_missing() {
    local tools
    mapfile -t tools < <(missing_tools "$@")
    [ "${#tools[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "missing: ${tools[*]}. This script installs packages on Debian and Ubuntu only; install them and run it again."
    is_root ||
        fail "missing: ${tools[*]}. Run as root: apt-get install --no-install-recommends $(all_packages "${tools[@]}")"
    # Package names depend on the lists, and a fresh machine has no lists.
    say 'Some packages are missing; updating the package lists ...'
    apt_quietly update || say '(some lists could not be updated; continuing with the others)'
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
        say '  (The packages docker.io, etcd-server and prometheus may start services, which keep running after'
        say '  this script. With systemd: systemctl disable --now docker.socket docker etcd prometheus.)'
        ;;
    esac
}

# Shows apt's long report only on failure. Waits if another apt holds the lock.
apt_quietly() {
    local report
    report=$(DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" 2>&1) && return
    printf '%s\n' "$report" | tail -n 30 >&2
    return 1
}

# The distributions' Rust packages are too old.
require_cargo() {
    command -v cargo >/dev/null || fail 'cargo is missing: install Rust from https://rustup.rs first'
}

# --- Docker -----------------------------------------------------------------

# Set by start_engine, read by stop_engine.
engine_pid=
engine_folder=
engine_lock=

# The docker client and HTTP clients must use the same engine. Only the docker client knows
# about contexts, so contexts are disabled.
unset DOCKER_CONTEXT
usual_engine=unix:///var/run/docker.sock

# An engine can hang during its start, so the test is a complete listing.
engine_answers() {
    command -v docker >/dev/null &&
        DOCKER_HOST=${DOCKER_HOST:-$usual_engine} timeout 10 docker ps --quiet >/dev/null 2>&1
}

engine_version() { docker version --format '{{.Server.Version}} (API {{.Server.APIVersion}})'; }

# use_engine FOLDER: uses the running engine, or starts one with its data in the folder.
use_engine() {
    local named=${DOCKER_HOST:-}
    export DOCKER_HOST=${DOCKER_HOST:-$usual_engine}
    if ! engine_answers; then
        [ -z "$named" ] || fail "no Docker engine answers at DOCKER_HOST=$named: start it, or unset DOCKER_HOST"
        is_root || fail "no Docker engine answers at $DOCKER_HOST, and only root can start one"
        wait_for_engine_lock
        # An engine that was just installed may still be starting.
        ! engine_process >/dev/null || wait_until 30 engine_answers || refuse_second_engine
    fi
    if engine_answers; then
        say "Using the Docker engine $(engine_version) at $DOCKER_HOST."
    else
        start_engine "$1"
    fi
}

start_engine() {
    require_cgroups
    engine_folder=$1
    mkdir -p "$engine_folder"
    remember_network
    say "No Docker engine is running: starting one with its data in $engine_folder ..."
    launch_engine
    export DOCKER_HOST=unix://$engine_folder/docker.sock
    local start
    start=$(now_ms)
    wait_until 60 engine_is_up_or_dead || true
    engine_answers || fail_with_log 'the Docker engine did not come up' "$engine_folder/dockerd.log"
    say "Docker engine $(engine_version) is up after $(time_since "$start")."
}

# Uses an empty configuration, because the machine's may name conflicting folders and
# sockets. The lock is not inherited, so that an engine that outlives this script does not
# block the next run.
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

# Docker cannot mount cgroups itself, and its own message names no remedy.
require_cgroups() {
    [ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] ||
        fail 'no cgroups are mounted at /sys/fs/cgroup, so no Docker engine can run here. On a machine without an init system: mount -t cgroup2 none /sys/fs/cgroup'
}

# Two engines in one network namespace delete each other's bridge, so a second run waits
# here until the engine of the first run has stopped.
wait_for_engine_lock() {
    mkdir -p /run/lock
    exec {engine_lock}>/run/lock/highhock-engine.lock
    flock --nonblock "$engine_lock" && return
    say 'Another run has started a Docker engine; waiting for its end ...'
    flock --timeout 3600 "$engine_lock" || fail 'the other run did not end within an hour'
}

refuse_second_engine() {
    fail "a dockerd is running (process $(engine_process)) but does not answer at $DOCKER_HOST; a second engine would break its network. Set DOCKER_HOST to its socket, or stop it."
}

# The process id of a dockerd in the network namespace of this script, without any package. An
# engine in another network namespace has its own bridge and packet filter.
engine_process() {
    local pid
    while read -r pid; do
        ! is_in_other_network "$pid" || continue
        say "$pid"
        return
    done < <(grep -lxs dockerd /proc/[0-9]*/comm | cut -d / -f 3)
    return 1
}

# is_in_other_network PID: fails if the namespace of the process cannot be read.
is_in_other_network() {
    local network
    network=$(readlink "/proc/$1/ns/net") && [ "$network" != "$(readlink /proc/self/ns/net)" ]
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

# Removes everything in an engine that this script started. An empty engine stops at once
# and leaves only its default bridge.
empty_engine() {
    local ids
    mapfile -t ids < <(docker ps --all --quiet 2>/dev/null)
    [ "${#ids[@]}" -eq 0 ] || docker rm --force --volumes "${ids[@]}" >/dev/null 2>&1 || true
    docker network prune --force >/dev/null 2>&1 || true
}

# Unmounts in reverse order, because mounts can be stacked.
unmount_below() {
    local point
    while read -r _ point _; do
        case $point in "$1"/*) umount --lazy "$point" 2>/dev/null || true ;; esac
    done < <(tac /proc/mounts)
}

# A stopped engine leaves its bridge, its packet filter rules and IP forwarding behind. State
# that existed before the engine was started is not removed.
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
    # An engine that enables forwarding sets the policy to DROP.
    [ -z "$had_policy" ] || iptables --policy FORWARD "$had_policy" || true
}

# Every rule and chain of the engine contains "docker": its chain or its bridge.
remove_engine_rules() {
    local family
    for family in iptables ip6tables; do
        command -v "$family-save" >/dev/null || continue
        "$family-save" 2>/dev/null | grep -vi docker | "$family-restore" 2>/dev/null || true
    done
}

# make_image NAME LABEL FOLDER: builds an image with busybox and its applets, without a
# registry. Every container of the image has the label.
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

# on_end FUNCTION: runs the function when the script exits, also after a signal.
on_end() {
    # shellcheck disable=SC2064 # expands now, intentionally
    trap "$1" EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
