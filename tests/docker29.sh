# shellcheck shell=bash
#
# A private Docker 29 for the tests, in its own namespaces. Sourced by tests/run, after
# deploy/lib.sh.

# Set by start_docker29. docker29_namespaces stays empty if Docker 29 was not built.
docker29_folder=
docker29_cgroup=
docker29_image=highhock-test/busybox:docker29
# The process that waits for the end of the namespaces.
docker29_namespaces=

# The first process of the namespaces. Two engines in one network namespace remove each other's
# bridge. The engine, its containers, mounts and network end with this process, which adopts
# orphaned processes. /run is private, because engines share sockets and locks there.
# shellcheck disable=SC2016 # expands in the namespaces, intentionally
docker29_first_process='mount -t tmpfs tmpfs /run && ip link set lo up && : >"$0/ready" &&
    read -r _ <>"$0/end"'

# start_docker29 PROGRAMS FOLDER RUN: starts the engine with all its data in the folder. Every
# container has the label of the run. If this fails, the tests on Docker 29 are skipped with a
# message, or fail under CI.
start_docker29() {
    docker29_folder=$2
    docker29_cgroup=highhock-docker29-$3
    mkdir -p "$docker29_folder/tmp"
    if ! set_up_docker29 "$1" "highhock-test=$3"; then
        [ "${CI-}" != true ] || fail_with_log 'cannot set up Docker 29' "$docker29_folder/log"
        say 'SKIPPED: the tests on Docker 29, which could not be set up:'
        tail -n 5 "$docker29_folder/log" | sed 's/^/  | /'
        stop_docker29
        return 0
    fi
    say "Docker engine $(with_docker29 engine_version) is running in its own namespaces."
}

# set_up_docker29 PROGRAMS LABEL
set_up_docker29() {
    local obstacle=
    [ -n "$1" ] || obstacle='it was not built'
    is_root || obstacle='only root can start it'
    say "$obstacle" >"$docker29_folder/log"
    [ -z "$obstacle" ] && open_namespaces && launch_docker29 "$1" &&
        wait_until 60 docker29_answers &&
        with_docker29 make_image "$docker29_image" "$2" "$docker29_folder/image"
}

open_namespaces() {
    mkfifo "$docker29_folder/end"
    unshare --net --mount --propagation slave --pid --fork --mount-proc --kill-child=KILL \
        bash -c "$docker29_first_process" "$docker29_folder" </dev/null >"$docker29_folder/log" 2>&1 &
    docker29_namespaces=$!
    wait_until 10 test -e "$docker29_folder/ready"
}

# The engine finds its containerd, runc and docker-proxy in PATH.
launch_docker29() {
    printf '{}\n' >"$docker29_folder/daemon.json"
    PATH=$1:$PATH in_docker29 dockerd --config-file "$docker29_folder/daemon.json" \
        --host "unix://$docker29_folder/docker.sock" \
        --data-root "$docker29_folder/data" \
        --exec-root "$docker29_folder/exec" \
        --pidfile "$docker29_folder/dockerd.pid" \
        --cgroup-parent "/$docker29_cgroup" --exec-opt native.cgroupdriver=cgroupfs \
        </dev/null >"$docker29_folder/log" 2>&1 &
}

docker29_answers() { with_docker29 engine_answers; }

# with_docker29 COMMAND...: runs a command that uses the engine by its socket.
with_docker29() { DOCKER_HOST=unix://$docker29_folder/docker.sock "$@"; }

# in_docker29 COMMAND...: runs a command in the engine's namespaces, where a published port can
# be reached.
in_docker29() {
    local namespaces=/proc/$docker29_namespaces/ns
    # Entering a mount namespace changes the working directory.
    # shellcheck disable=SC2016 # expands in the namespaces, intentionally
    nsenter --net="$namespaces/net" --mount="$namespaces/mnt" --pid="$namespaces/pid_for_children" \
        sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
}

# Omits images without a name: the classic builder leaves one of each step, and the engine fails
# other builds while it removes them.
docker29_leftovers() {
    [ -n "$docker29_namespaces" ] || return 0
    with_docker29 docker_leftovers "$docker29_image" |
        sed '/^image <none>:<none>$/d; s/^/  /; s/$/ in Docker 29/'
}

stop_docker29() {
    [ -n "$docker29_folder" ] || return 0
    if [ -n "$docker29_namespaces" ]; then
        printf '\n' 1<>"$docker29_folder/end"
        wait_until 30 has_ended "$docker29_namespaces" || end_process "$docker29_namespaces" 5
    fi
    docker29_namespaces=
    find /sys/fs/cgroup -depth -type d -path "*/$docker29_cgroup*" -exec rmdir {} + 2>/dev/null
    rm -rf "$docker29_folder"
    docker29_folder=
}
