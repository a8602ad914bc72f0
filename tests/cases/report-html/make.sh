# make.sh - for the cases beside it: result SIDE NAME OUTCOME [JSON] writes a run document below work/SIDE, JSON laid over it;
# archived SIDE NAME [JSON] adds a line to its manifest. Needs jq.
result() {
    mkdir -p "work/$1/out/results"
    jq -n --arg side "$1" --arg name "$2" --arg outcome "$3" --argjson over "${4:-{\}}" '
        {kind: "run", v: 1, packages: [$name], side: $side, checksum: {($name): "c1"}, dependencies: [], dependents: 0,
         catalog_id: "c", recipe: "racket", image_id: "i1", version: "8.7", limits: {time_s: 900}, outcome: $outcome,
         phases: [], started: "2026-11-21T10:00:00Z", wall_s: 1}
        + (if $outcome == "pass" then {} else
             {cause: "package", blame: {package: $name, chain: [$name], code: "compile-error", message: "\($name)/main.rkt:1:2: frob: unbound"}} end)
        * $over' >"work/$1/out/results/$2.json"
}
archived() {
    mkdir -p "work/$1/archive"
    jq -nc --arg name "$2" --argjson over "${3:-{\}}" '
        {kind: "archived", v: 1, package: $name, status: "archived", source: "./\($name)", checksum: "", zip_checksum: "z1"} * $over' >>"work/$1/archive/manifest.jsonl"
}
report() { report-html -q --old work/old --new work/new "$@"; }
verdicts() { jq -r '.headline, (.packages[] | "\(.package): \(.verdict)\(if .trend then " (" + .trend + ")" else "" end): \(.reason)")' "${1:-report}/report.json"; }
