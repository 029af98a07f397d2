# shellcheck shell=bash
#
# A Podman of the tests' own, on a socket that speaks Docker's API. Sourced by tests/run,
# after deploy/machine.sh.

# Set by start_podman; the service's process is empty where there is none.
podman_folder=
podman_service=
podman_had_rules=
podman_image=localhost/highhock-test/busybox:1

# start_podman FOLDER: one with all its data in the folder. Where it can't be had, its
# tests are left out, loudly; CI is to see them.
start_podman() {
    podman_folder=$1
    mkdir -p "$podman_folder"
    podman_had_rules=$(iptables-save 2>/dev/null | grep -c NETAVARK || true)
    if ! (prepare_podman) >"$podman_folder/log" 2>&1; then
        [ "${CI-}" != true ] || fail_with_log 'there is no Podman to test with' "$podman_folder/log"
        say 'LEFT OUT: the tests with Podman, as it could not be set up:'
        tail -n 5 "$podman_folder/log" | sed 's/^/  | /'
        stop_podman
        return 0
    fi
    exec_podman system service --time=0 "unix://$podman_folder/podman.sock" \
        </dev/null >"$podman_folder/log" 2>&1 &
    podman_service=$!
    wait_until 30 podman_answers || fail_with_log 'the Podman service did not come up' "$podman_folder/log"
    say "Podman $(our_podman version --format '{{.Client.Version}}') is up."
}

podman_answers() { DOCKER_HOST=unix://$podman_folder/podman.sock engine_answers; }

# That containers with published ports can run here is seen only by running one.
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

# Fit for a machine without systemd, with old and new cgroups side by side (which Podman's
# usual crun refuses), or where limits can't be raised.
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

# In place of the shell that it is called in, so that the one who ends that ends Podman.
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

# Its containers' rules go with them, and the chains stay. One by one, as another engine
# may write rules of its own meanwhile.
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
