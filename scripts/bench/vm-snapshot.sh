#!/bin/sh
# What fresh machines cost, against the barest way to have the same, in turn: sandboxes against bare kernel calls, containers
# against the engine's own commands, virtual machines from memory against a cold boot of the same image; eight side by side.
# Prints one JSON object: medians in seconds, and what an idle instance takes of the disk. Works in memory (/dev/shm) unless
# TMPDIR says otherwise: ext4 is slow to make files where it has just removed many, and then a sandbox takes half as long again.
# Needs jq; dockerd and qemu as far as they are there. BIN: where the programs are (target/release of the checkout). DOWNSTREAM_IMAGE is an image of make-image (default: a small one of
# programs of this host), CLOUD_IMAGE one of make-image --cloud; RUNS how often (default 10; virtual machines a third of it).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/bench/timing
. "$here/timing"
PATH=$PATH:/usr/sbin:/sbin
for program in jq unshare; do
    command -v "$program" >/dev/null || { echo "vm-snapshot.sh: cannot measure: $program is not installed" >&2; exit 69; }
done
bin=$(cd "${BIN:-$here/../../target/release}" && pwd)
RUNS=${RUNS:-10}
dir=$(in_memory vm-snapshot)
engine=''
end() {
    test -z "$engine" || { kill "$engine" && wait "$engine"; } 2>/dev/null || true
    rm -rf "$dir"
}
trap end EXIT
cd "$dir"

vm() { "$bin/vm-snapshot" "$@"; }
# prints the id of the instance; by the shell itself, as jq takes longer than opening a sandbox
open() {
    testbed=$(vm open "$@" --owner $$)
    testbed=${testbed#*'"id": "'}
    echo "${testbed%%'"'*}"
}
cycle() { # MACHINE [SNAPSHOT]: open, run, close
    id=$(open "$1" ${2:+--snapshot "$2"})
    vm exec "$id" -- true
    vm close "$id"
}
open_close() { open "$@" | xargs "$bin/vm-snapshot" close; }
only_open() { open "$@" >>opened; }
eight() { # open, of eight at once
    pids=''
    for n in 1 2 3 4 5 6 7 8; do
        vm open "$@" --owner $$ >"out$n" &
        pids="$pids $!"
    done
    # shellcheck disable=SC2086
    wait $pids
    # as in open, without jq
    sed -n 's/^  "id": "\(.*\)",$/\1/p' out? >>opened
}
eight_cycles() { # of eight at once
    pids=''
    for n in 1 2 3 4 5 6 7 8; do
        cycle "$@" &
        pids="$pids $!"
    done
    # shellcheck disable=SC2086
    wait $pids
}
close_all() { test ! -s opened || { xargs "$bin/vm-snapshot" close <opened; : >opened; }; }
result() { median "$2" | jq --arg name "$1" '{($name): .}' >>results; }
ratio() { # NAME OURS THEIRS
    jq -n --arg name "$1" --argjson a "$(median "$2")" --argjson b "$(median "$3")" '{($name): ($a / $b * 100 | round / 100)}' >>results
}
idle_kb() { # NAME MACHINE [SNAPSHOT]: what an instance takes before it writes
    id=$(open "$2" ${3:+--snapshot "$3"})
    du -sk "state/instances/$id" | jq -R --arg name "$1" '{($name): (split("\t")[0] | tonumber)}' >>results
    vm close "$id"
}
repeat() { # TIMES COMMAND...
    rounds=$1
    shift
    while [ "$rounds" -gt 0 ]; do
        "$@"
        rounds=$((rounds - 1))
    done
}

image=${DOWNSTREAM_IMAGE:-}
if [ -z "$image" ] && command -v qemu-system-x86_64 >/dev/null && "$here/../image/small" "$dir/image" 2>small.log; then
    image=$dir/image
fi
{
    echo '{"kind": "machines", "v": 1, "state_dir": "state", "machines": [
      {"name": "plain", "root": "host"},
      {"name": "limited", "root": "host", "memory_mb": 1024, "processes": 512, "disk_mb": 1024},
      {"name": "container", "driver": "docker", "image": "bench"}]}'
    [ -z "$image" ] || jq --arg dir "$image/" '.machines[0] += {name: "tiny", memory_mb: 512}
        | .machines[0] |= with_entries(if .key | IN("image", "kernel", "initrd", "identity", "known_hosts") then .value = $dir + .value else . end)' "$image/machines.json"
    [ -z "${CLOUD_IMAGE:-}" ] || jq --arg dir "$CLOUD_IMAGE/" '.machines[0] += {name: "systemd", memory_mb: 1024}
        | .machines[0] |= with_entries(if .key | IN("image", "kernel", "initrd", "identity", "known_hosts", "seed") then .value = $dir + .value else . end)' "$CLOUD_IMAGE/machines.json"
} | jq -s '.[0] + {machines: map(.machines) | add}' >machines.json

# -- sandboxes; the least that makes a private copy-on-write root in namespaces of its own
mkdir -p upper wrk root
bare() {
    rm -rf wrk upper
    mkdir wrk upper
    unshare -mpfniu --mount-proc sh -c '
        mount -t overlay overlay -o lowerdir=/usr,upperdir=upper,workdir=wrk root && mkdir root/old && cd root && pivot_root . old &&
        exec old/bin/true'
}
cycle plain
one_round() {
    timed bare bare
    timed sandbox cycle plain
    timed limited cycle limited
    timed one open_close plain
    timed eight eight plain
    close_all
}
repeat "$RUNS" one_round
for name in bare sandbox limited; do result "${name}_cycle_s" "$name"; done
result sandbox_eight_opens_s eight
ratio sandbox_to_bare sandbox bare
ratio sandbox_eight_to_one eight one
idle_kb sandbox_idle_kb plain

# -- containers; an engine and an image of our own
if command -v dockerd >/dev/null && command -v docker >/dev/null && [ "$(id -u)" = 0 ] && [ -n "$image" ]; then
    dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$dir/docker" --exec-root "$dir/exec" \
        --pidfile "$dir/pid" -H "unix://$dir/sock" >docker.log 2>&1 &
    engine=$!
    export DOCKER_HOST="unix://$dir/sock"
    tries=0
    until docker info >/dev/null 2>&1 || [ $tries -gt 60 ]; do sleep 0.5; tries=$((tries + 1)); done
    docker import "$image/tree.tar" bench >/dev/null
    engine_cycle() {
        docker create --name "bench" --network=none bench sh -c 'while :; do sleep 1000 & wait; done'
        docker start bench
        docker exec bench true
        docker kill bench
        docker rm bench
    }
    one_round() {
        timed engine engine_cycle
        timed container cycle container
    }
    cycle container
    repeat "$RUNS" one_round
    for name in engine container; do result "${name}_cycle_s" "$name"; done
    ratio container_to_engine container engine
    idle_kb container_idle_kb container
fi

# -- virtual machines
machine() { # NAME
    id=$(open "$1")
    vm take "$id" warm >/dev/null
    vm close "$id"
    one_round() {
        timed "$1-cold" only_open "$1"
        close_all
        timed "$1-warm" only_open "$1" --snapshot warm
        close_all
        timed "$1-eight" eight "$1" --snapshot warm
        close_all
        # with the first command, so that nothing is put off to it
        timed "$1-cold-cycle" cycle "$1"
        timed "$1-cycle" cycle "$1" warm
        timed "$1-eight-cycles" eight_cycles "$1" warm
    }
    repeat $(((RUNS + 2) / 3)) one_round "$1"
    result "$1_cold_boot_s" "$1-cold"
    result "$1_from_memory_s" "$1-warm"
    result "$1_eight_opens_s" "$1-eight"
    result "$1_cold_boot_cycle_s" "$1-cold-cycle"
    result "$1_from_memory_cycle_s" "$1-cycle"
    result "$1_eight_cycles_s" "$1-eight-cycles"
    ratio "$1_cold_to_memory" "$1-cold" "$1-warm"
    ratio "$1_eight_to_one" "$1-eight" "$1-warm"
    ratio "$1_cold_to_memory_cycle" "$1-cold-cycle" "$1-cycle"
    ratio "$1_eight_to_one_cycle" "$1-eight-cycles" "$1-cycle"
    idle_kb "$1_idle_kb" "$1" warm
}
[ -z "$image" ] || machine tiny
[ -z "${CLOUD_IMAGE:-}" ] || machine systemd
jq -s 'add | {kind: "bench", v: 1, tool: "vm-snapshot"} + .' results
