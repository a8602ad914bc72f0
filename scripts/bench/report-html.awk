# report-html.awk - writes both sides of a made-up run of N packages below DIR: manifests, `run` documents as pkg-run-one
# writes them, logs of what fails. Package k depends on up to three packages before it; p00003 is the changed one: 1 in 25 of
# its direct dependents no longer compiles, and what depends on those falls with them. 1 in 80 packages fails on both sides.
# No random numbers: the same N gives the same files.

function name(k) { return sprintf("p%05d-lib", k) }
function hash(k) { return (k * 2654435761) % 4294967296 }
function sha(k) { return sprintf("%08x%08x%08x%08x%08x", hash(k), hash(k + 1), hash(k + 2), hash(k + 3), hash(k + 5)) }
function phase(p, status, wall, text, extra) {
    return sprintf("{\"phase\":\"%s\",\"machine\":\"racket\",\"variant\":\"minimal\",\"attempt\":1,\"status\":\"%s\",\"cause\":null,\"exit_code\":%d,\"wall_s\":%.2f,\"cpu_s\":%.2f,\"peak_memory_mb\":%.1f,\"peak_processes\":4,\"disk_mb\":3.5,\"log\":%s,\"log_bytes\":%d,\"log_truncated\":false,\"tests\":%s}",
        p, status, status == "fail", wall, wall * 0.9, 90 + wall * 7, text, text == "null" ? 0 : 2345, extra == "" ? "null" : extra)
}
function write(side, k,    n, out, outcome, cause, blame, phases, file, text, tests, wall, line, i) {
    n = name(k); out = DIR "/" side "/out"; wall = 4 + hash(k) % 900 / 60
    outcome = fate[side, k]; tests = "{\"status\":\"passed\",\"files\":3,\"files_failed\":0,\"passed\":" (hash(k) % 90) ",\"failed\":0,\"failures\":[]}"
    text = "\"logs/" n "/build.log\""; blame = "null"; cause = "null"
    phases = phase("install", "ok", wall * 0.5, text, "") "," phase("undeclared", "ok", 0.8, text, "") "," phase("deps", "ok", 0.1, "null", "") "," phase("adds", "ok", 0.1, "null", "") "," phase("pack", "ok", 0.6, text, "")
    if (outcome == "pass") phases = phases "," phase("test", "ok", wall * 0.4, "\"logs/" n "/test.log\"", tests)
    else if (outcome == "build-fail") {
        line = "/home/build/pkgs/" n "/main.rkt:" (hash(k) % 400) ":" (hash(k) % 60) ": draw-spline-" (hash(k) % 7) ": unbound identifier"
        if (side == "old" || fate["old", k] != "pass") line = "/home/build/pkgs/" n "/main.rkt:7:2: require: cannot find module lost-" (hash(k) % 90)
        cause = "\"package\""
        blame = "{\"package\":\"" n "\",\"chain\":[\"" n "\"],\"code\":\"compile-error\",\"file\":\"" n "/main.rkt\",\"line\":7,\"message\":\"" line "\"}"
        phases = phase("install", "fail", wall, text, "")
        system_dir(out "/logs/" n)
        file = out "/logs/" n "/build.log"
        for (i = 0; i < 60; i++) print "raco setup: making: <pkgs>/" n "/private/part-" i ".rkt" >file
        print line "\n  in: a form\n  context...:\n   /usr/share/racket/collects/setup/setup-core.rkt:1:1\nraco setup: error: during making for <pkgs>/" n >file
        close(file)
    } else {
        i = root[side, k]; cause = "\"dependency\""; phases = ""
        blame = "{\"package\":\"" name(i) "\",\"chain\":[\"" n "\",\"" (via[side, k] == i ? "" : name(via[side, k]) "\",\"") name(i) "\"],\"code\":\"missing-dependency\",\"message\":\"dependency " name(i) " has no built form\"}"
        wall = 0
    }
    file = out "/results/" n ".json"
    printf "{\"kind\":\"run\",\"v\":1,\"packages\":[\"%s\"],\"side\":\"%s\",\"checksum\":{\"%s\":\"%s\"},\"source\":{\"%s\":\"https://example.org/%s.git#main\"},\"dependencies\":[%s],\"dependents\":%d,\"author\":\"author%d@example.org\",\"catalog_id\":\"%s\",\"recipe\":\"racket\",\"image_id\":\"minimal-racket@8.7\",\"version\":\"8.7\",\"limits\":{\"disk_mb\":2000,\"log_mb\":5,\"memory_mb\":2048,\"processes\":500,\"silence_s\":300,\"time_s\":900},\"outcome\":\"%s\",\"cause\":%s,\"blame\":%s,\"findings\":[%s],\"phases\":[%s],\"docs\":[{\"name\":\"%s\",\"status\":\"main\",\"path\":\"doc/%s/index.html\"}],\"adds\":{\"executables\":[],\"libraries\":[],\"man_pages\":[],\"modules\":[]},\"built\":[{\"package\":\"%s\",\"zip\":\"built/pkgs/%s.zip\",\"checksum\":\"%s\"}],\"observed\":[],\"command\":[\"pkg-run-one\",\"--machines\",\"machines.json\",\"--machine\",\"racket\",\"--archive\",\"work/%s/archive\",\"--out\",\"work/%s/out\",\"%s\"],\"started\":\"2026-11-21T%02d:%02d:%02dZ\",\"wall_s\":%.2f}\n",
        n, side, n, sha(k + (side == "new" && k == 3)), n, n, deps[k], dependents[k], k % 900, side == "new" ? "c2" : "c1", outcome, cause, blame, hash(k) % 97 == 0 ? "{\"code\":\"undeclared-dependencies\",\"message\":\"uses rackunit-lib without declaring it\"}" : "", phases, n, n, n, n, sha(k + 9), side, side, n, k / 3600 % 24, k / 60 % 60, k % 60, wall >file
    close(file)
}
function system_dir(dir) { system("mkdir -p '" dir "'") }
BEGIN {
    for (k = 0; k < N; k++) {
        deps[k] = ""; fate["old", k] = fate["new", k] = "pass"
        if (hash(k) % 80 == 3 && k > N / 4) fate["old", k] = fate["new", k] = "build-fail"
        number = k < 8 ? 0 : 1 + hash(k) % 3
        for (i = 0; i < number; i++) {
            # few packages have many dependents
            on = hash(k * 3 + i) % 4 == 0 ? hash(k + i) % 8 : hash(k * 7 + i * 13) % k
            if (on == k || index(deps[k], name(on))) continue
            deps[k] = deps[k] (deps[k] == "" ? "" : ",") "\"" name(on) "\""; direct[on]++
            if (on == 3 && k > N / 4 && fate["new", k] == "pass" && hash(k) % 25 == 0) fate["new", k] = "build-fail"
            for (s = 1; s <= 2; s++) {
                side = s == 1 ? "old" : "new"
                if (fate[side, on] != "pass" && fate[side, k] == "pass") {
                    fate[side, k] = "dependency-fail"; via[side, k] = on
                    root[side, k] = fate[side, on] == "build-fail" ? on : root[side, on]
                }
            }
        }
    }
    for (k = N - 1; k >= 0; k--) dependents[k] = direct[k] + 0
    for (s = 1; s <= 2; s++) {
        side = s == 1 ? "old" : "new"
        system("mkdir -p '" DIR "/" side "/out/results' '" DIR "/" side "/archive'")
        manifest = DIR "/" side "/archive/manifest.jsonl"
        for (k = 0; k < N; k++) {
            write(side, k)
            list = deps[k]; gsub(/"p/, "{\"name\":\"p", list); gsub(/-lib"/, "-lib\"}", list)
            printf "{\"kind\":\"archived\",\"v\":1,\"package\":\"%s\",\"status\":\"archived\",\"source\":\"https://example.org/%s.git#main\",\"checksum\":\"%s\",\"zip_checksum\":\"%s\",\"zip_bytes\":20000,\"dependencies\":[%s],\"dependencies_from\":\"info\",\"modules\":[\"%s/main.rkt\"],\"implies\":[],\"author\":\"author%d@example.org\",\"cycle\":[],\"in_installation\":false,\"dependents\":%d,\"findings\":[],\"catalog_id\":\"c1\"}\n",
                name(k), name(k), sha(k), sha(k + (side == "new" && k == 3)), list, name(k), k % 900, dependents[k] >manifest
        }
        close(manifest)
    }
}
