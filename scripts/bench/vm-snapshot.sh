#!/bin/sh
# What a fresh sandbox costs: open + exec true + close, against the bare kernel calls, and eight side by side.
# Prints one JSON object: medians in milliseconds. Needs hyperfine and jq, and vm-snapshot on PATH or in VM_SNAPSHOT.
set -eu
for program in hyperfine jq unshare; do
    command -v "$program" >/dev/null || { echo "vm-snapshot.sh: cannot measure: $program is not installed" >&2; exit 69; }
done
VM_SNAPSHOT=${VM_SNAPSHOT:-$(command -v vm-snapshot)}
export VM_SNAPSHOT
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p upper wrk root low
cat >machines.json <<'END'
{"kind": "machines", "v": 1, "state_dir": "state", "machines": [
  {"name": "plain", "root": "host"},
  {"name": "limited", "root": "host", "memory_mb": 1024, "processes": 512, "disk_mb": 1024}]}
END

# the least that makes a private copy-on-write root in namespaces of its own
cat >bare.sh <<'END'
rm -rf wrk upper; mkdir wrk upper
exec unshare -mpfniu --mount-proc sh -c '
    mount -t overlay overlay -o lowerdir=/usr,upperdir=upper,workdir=wrk root && mkdir root/old && cd root && pivot_root . old &&
    exec /bin/true' 2>/dev/null
END
sed -i 's/exec \/bin\/true/exec old\/bin\/true/' bare.sh
cat >cycle.sh <<'END'
id=$("$VM_SNAPSHOT" open "$1" | jq -r .id)
"$VM_SNAPSHOT" exec "$id" -- true
"$VM_SNAPSHOT" close "$id"
END
cat >eight.sh <<'END'
for n in 1 2 3 4 5 6 7 8; do "$VM_SNAPSHOT" open "$1" --owner $$ >"out$n" & done
wait
cat out? | jq -r .id | xargs "$VM_SNAPSHOT" close
END
cat >eight-in-turn.sh <<'END'
for n in 1 2 3 4 5 6 7 8; do "$VM_SNAPSHOT" open "$1" --owner $$ | jq -r .id | xargs "$VM_SNAPSHOT" close; done
END

median() {
    name=$1; shift
    hyperfine --shell=none --warmup 3 --runs "${RUNS:-30}" --export-json times.json "$@" >/dev/null 2>&1 ||
        { echo "vm-snapshot.sh: cannot run: $*" >&2; exit 1; }
    jq --arg name "$name" '{($name): (.results[0].median * 10000 | round / 10)}' times.json
}

id=$("$VM_SNAPSHOT" open plain --owner $$ | jq -r .id)
written_kb=$(du -sk "state/instances/$id" | cut -f1)
{
    median bare_ms "sh bare.sh"
    median exec_ms "$VM_SNAPSHOT exec $id true"
    median cycle_ms "sh cycle.sh plain"
    median cycle_with_limits_ms "sh cycle.sh limited"
    median eight_ms "sh eight.sh plain"
    median eight_in_turn_ms "sh eight-in-turn.sh plain"
    jq -n --argjson kb "$written_kb" '{disk_of_an_idle_instance_kb: $kb}'
} | jq -s 'add | {kind: "bench", v: 1, tool: "vm-snapshot"} + .'
"$VM_SNAPSHOT" close "$id"
