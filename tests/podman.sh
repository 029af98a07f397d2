# shellcheck shell=bash
#
# A private Podman for the tests, on a socket with Docker's API. Sourced by tests/run,
# after deploy/lib.sh.

# Set by start_podman. podman_service stays empty if there is no Podman.
podman_folder=
podman_service=
podman_had_rules=
podman_image=localhost/highhock-test/busybox:1

# start_podman FOLDER: starts a Podman with all its data in the folder. If this fails, the
# tests with Podman are skipped with a message, or fail under CI.
start_podman() {
    podman_folder=$1
    mkdir -p "$podman_folder"
    podman_had_rules=$(iptables-save 2>/dev/null | grep -c NETAVARK || true)
    if ! (prepare_podman) >"$podman_folder/log" 2>&1; then
        [ "${CI-}" != true ] || fail_with_log 'cannot set up Podman' "$podman_folder/log"
        say 'SKIPPED: the tests with Podman, which could not be set up:'
        tail -n 5 "$podman_folder/log" | sed 's/^/  | /'
        stop_podman
        return 0
    fi
    exec_podman system service --time=0 "unix://$podman_folder/podman.sock" \
        </dev/null >"$podman_folder/log" 2>&1 &
    podman_service=$!
    wait_until 30 podman_answers || fail_with_log 'the Podman service did not start' "$podman_folder/log"
    say "Podman $(our_podman version --format '{{.Client.Version}}') is running."
}

podman_answers() { DOCKER_HOST=unix://$podman_folder/podman.sock engine_answers; }

# Runs one container, the only proof that containers with published ports work here.
prepare_podman() {
    is_root || fail 'only root can start one'
    install_missing podman runc
    configure_podman >"$podman_folder/containers.conf"
    local root=$podman_folder/image applet
    mkdir -p "$root/bin" "$root/tmp" "$root/etc"
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
    done
    tar -C "$root" -c . | our_podman import --change 'ENV PATH=/bin' - "$podman_image"
    our_podman run --rm --publish 127.0.0.1::80 "$podman_image" true
}

# Works on machines without systemd, with both versions of cgroups (which Podman's default
# crun rejects), or with fixed resource limits.
configure_podman() {
    cat <<'EOF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
EOF
}

our_podman() { (exec_podman "$@"); }

# Replaces the calling shell, so that a signal to the shell's process stops Podman.
exec_podman() {
    CONTAINERS_CONF=$podman_folder/containers.conf exec podman --root "$podman_folder/root" \
        --runroot "$podman_folder/run" --tmpdir "$podman_folder/tmp" --storage-driver vfs "$@"
}

podman_leftovers() {
    [ -n "$podman_service" ] || return 0
    our_podman ps --all --format '  container {{.ID}} {{.Names}} ({{.Status}}) in Podman'
}

stop_podman() {
    [ -n "$podman_folder" ] || return 0
    if command -v podman >/dev/null; then
        our_podman rm --all --force --time 0 >/dev/null 2>&1 || true
        our_podman network prune --force >/dev/null 2>&1 || true
    fi
    [ -z "$podman_service" ] || end_process "$podman_service" 10
    podman_service=
    unmount_below "$podman_folder"
    rm -rf "$podman_folder"
    podman_folder=
    [ "$podman_had_rules" -gt 0 ] || remove_podman_rules
}

# Containers remove their rules, but the chains stay. Deletes chains one by one, because
# another engine may change rules at the same time.
remove_podman_rules() {
    local program table
    for program in iptables ip6tables; do
        command -v "$program" >/dev/null || continue
        for table in filter nat; do
            "$program" --table "$table" --list-rules | sed -n '/NETAVARK/s/^-A/-D/p' |
                xargs --no-run-if-empty --max-lines=1 "$program" --wait --table "$table"
            "$program" --table "$table" --list-rules | sed -n 's/^-N \(NETAVARK\)/-X \1/p' |
                xargs --no-run-if-empty --max-lines=1 "$program" --wait --table "$table"
        done
    done 2>/dev/null
}
