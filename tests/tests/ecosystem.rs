//! The whole line, run by the real tools over the sample ecosystem: one small package for each thing that can happen.
//! `tests/ecosystem/verdicts.tsv` says which verdict each must get, and `scripts/downstream.mk` runs them.
//! `ECOSYSTEM_RUNS=5` runs them so often, each time from nothing. `ECOSYSTEM_MACHINE=docker` (qemu, …) takes the machines of
//! `tests/ecosystem/machines-NAME.json`, where `@IMAGE@` is the directory `DOWNSTREAM_IMAGE`; `ECOSYSTEM_PACKAGES=a,b` a choice.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};
use tests::{command, require, root, sh, sh_ok};

const NEEDS: [&str; 9] = ["racket", "make", "jq", "git", "zip", "cc", "setpriv", "flock", "sha1sum"];

/// The ecosystem laid out and served, its catalog, and machines; all of it goes away with the value.
struct Site {
    dir: tempfile::TempDir,
    server: tests::Served,
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let work = dir.path();
        let eco = root().join("tests/ecosystem");
        fs::create_dir_all(work.join("eco/site")).expect("a directory");
        // an ordinary user's machine must be told what of the host's files is the user's own inside
        let own = "[\"/usr/share/racket\", \"/usr/lib/racket\", \"/usr/bin\"]";
        if let Some(kind) = setting("ECOSYSTEM_MACHINE") {
            let document = fs::read_to_string(eco.join(format!("machines-{kind}.json"))).expect("a document");
            let image = setting("DOWNSTREAM_IMAGE").unwrap_or_default();
            let document = document.replace("@IMAGE@", &image);
            fs::write(work.join("machines.json"), document).expect("a document");
        } else {
            sh_ok(
                &format!(
                    "if test $(id -u) = 0; then cat {0}; else jq '.machines[].own = {own}' {0}; fi > machines.json",
                    eco.join("machines.json").display()
                ),
                work,
            );
        }
        let server = tests::Served::start(work, "eco/site");
        let url = server.url.clone();
        let site = Site { dir, server };
        site.sh_ok(&format!(
            "{}/make-site eco {url} > lines.jsonl; catalog-copy -q - cat < lines.jsonl",
            eco.display()
        ));
        site
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn sh_ok(&self, script: &str) -> String {
        sh_ok(&with_engine(script), self.path())
    }

    /// `make` on the fragment, from the directory of the site.
    fn make(&self, machine: &str, settings: &str) -> String {
        let eco = root().join("tests/ecosystem");
        let keep = fs::read_to_string(eco.join("keep")).expect("readable");
        let own = format!("limits-{}.json", setting("ECOSYSTEM_MACHINE").unwrap_or_default());
        let limits = Some(own.as_str()).filter(|own| eco.join(own).exists()).unwrap_or("limits.json");
        let make = format!(
            "make -k -j2 -f {fragment} CATALOG=cat MACHINES=machines.json MACHINE={machine} KEEP={keep} \
             SETUP={eco}/setup.sh LIMITS={eco}/{limits} {settings}",
            fragment = root().join("scripts/downstream.mk").display(),
            keep = keep.trim(),
            eco = eco.display(),
        );
        with_engine(&make)
    }

    /// What is left of machines: processes that have to do with this directory, mounts below it, open instances.
    fn remains(&self) -> Vec<String> {
        let here = self.path().display().to_string();
        let server = self.server.pid().to_string();
        let mut remains: Vec<String> = fs::read_dir("/proc")
            .expect("/proc")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && *pid != server)
            .filter(|pid| {
                let text = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let cwd = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&here));
                cwd || [text("cmdline"), text("environ")]
                    .iter()
                    .any(|text| String::from_utf8_lossy(text).contains(&here))
            })
            .map(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                format!("process {pid}: {}", String::from_utf8_lossy(&line).replace('\0', " "))
            })
            .collect();
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        remains.extend(mounts.lines().filter(|line| line.contains(&here)).map(str::to_owned));
        let listed =
            self.sh_ok("for m in $(jq -r '.machines[].name' machines.json); do vm-snapshot list $m; done");
        remains
            .extend(listed.lines().filter(|line| line.contains("\"kind\":\"instance\"")).map(str::to_owned));
        remains
    }
}

/// A script with what a container engine of one's own is told by.
fn with_engine(script: &str) -> String {
    let told = ["DOCKER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"]
        .iter()
        .filter_map(|name| Some(format!("export {name}='{}'\n", setting(name)?)));
    told.chain([script.to_owned()]).collect()
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Drop for Site {
    fn drop(&mut self) {
        let end = "vm-snapshot -q prune; for m in $(jq -r '.machines[].name' machines.json); do vm-snapshot -q delete $m; done";
        sh(&with_engine(end), self.path());
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Times of the results, a package.
fn results(work: &Path) -> BTreeMap<String, SystemTime> {
    let Ok(entries) = fs::read_dir(work.join("new/out/results")) else { return BTreeMap::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?.strip_suffix(".json")?.to_owned();
            Some((name, entry.metadata().ok()?.modified().ok()?))
        })
        .collect()
}

#[test]
fn every_sample_package_gets_its_verdict() {
    if !require("every_sample_package_gets_its_verdict", &NEEDS) {
        return;
    }
    let site = Site::new();
    let runs: u32 = std::env::var("ECOSYSTEM_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for run in 1..=runs {
        site.sh_ok("rm -rf work");
        let begin = Instant::now();
        let choice = setting("ECOSYSTEM_PACKAGES");
        let affected =
            choice.as_ref().map(|names| format!("AFFECTED='--package {names}'")).unwrap_or_default();
        let made = sh(&site.make("eco", &format!("OLD=none {affected}")), site.path());
        assert!(made.status.success(), "{}", text(&made));
        // flakiness shows only when a package is run more than once
        if choice.is_none() {
            site.sh_ok(
            "pkg-run-one -q --machines machines.json --machine eco --archive work/new/archive --out work/new/out \
             --installed eco.installation.json --repeat 2 flaky > /dev/null",
            );
        }
        eprintln!(
            "run {run}: {} results in {:.0?}",
            results(&site.path().join("work")).len(),
            begin.elapsed()
        );
        let compared = sh(
            &format!(
                "{}/tests/ecosystem/compare work/new/out/results {}",
                root().display(),
                choice.unwrap_or_default()
            ),
            site.path(),
        );
        assert!(compared.status.success(), "run {run}: verdicts differ from the table\n{}", text(&compared));
    }
    if setting("ECOSYSTEM_MACHINE").is_some() {
        assert_eq!(site.remains(), Vec::<String>::new());
        return;
    }
    unchanged_does_nothing(&site);
    a_change_touches_its_dependents_only(&site);
    raco_installs_from_the_archive_and_the_built_catalog(&site);
    a_site_of_built_packages_has_their_documents(&site);
    built_forms_for_every_machine(&site);
    the_fallback_platform_comes_last(&site);
    a_smaller_selection_leaves_nothing_of_the_others(&site);
    assert_eq!(site.remains(), Vec::<String>::new());
}

fn unchanged_does_nothing(site: &Site) {
    // the repeated run of `flaky` is newer than it was; nothing depends on it
    let before = results(&site.path().join("work"));
    let begin = Instant::now();
    let made = sh(&site.make("eco", "OLD=none"), site.path());
    assert!(made.status.success(), "{}", text(&made));
    assert_eq!(results(&site.path().join("work")), before, "{}", text(&made));
    assert!(begin.elapsed() < Duration::from_secs(20), "nothing to do took {:.1?}", begin.elapsed());
}

fn a_change_touches_its_dependents_only(site: &Site) {
    let before = results(&site.path().join("work"));
    let file = site.path().join("eco/packages/passes/main.rkt");
    let code = fs::read_to_string(&file).expect("readable");
    fs::write(&file, format!("{code}(provide treble)\n(define (treble n) (* 3 n))\n")).expect("written");
    let made = sh(&site.make("eco", "OLD=none"), site.path());
    assert!(made.status.success(), "{}", text(&made));
    let after = results(&site.path().join("work"));
    let rebuilt: Vec<&str> =
        after.iter().filter(|(name, time)| before[*name] != **time).map(|(name, _)| name.as_str()).collect();
    assert_eq!(rebuilt, ["from-git", "no-tests", "passes", "undeclared"], "{}", text(&made));
}

fn raco_installs_from_the_archive_and_the_built_catalog(site: &Site) {
    for (catalog, package) in
        [("work/new/archive/catalog", "no-tests"), ("work/new/out/built/catalog", "undeclared")]
    {
        let seen = site.sh_ok(&format!(
            "export PLTUSERHOME=$PWD/raco-$(basename $(dirname {catalog})); mkdir $PLTUSERHOME
             raco pkg install --scope user --no-docs --auto --catalog file://$PWD/{catalog} {package} > raco.log 2>&1 \
                || {{ tail -n 20 raco.log; exit 1; }}
             racket -e \"(require no-tests) (quadruple 3)\""
        ));
        assert_eq!(seen.trim(), "12", "{package} from {catalog}");
    }
}

/// `--compile-any`: what is in the built package is for no machine in particular, and raco can take it.
fn built_forms_for_every_machine(site: &Site) {
    let kinds = site.sh_ok(
        "pkg-run-one -q --machine eco-minimal --archive work/new/archive --out any --installed eco.installation.json \
            --compile-any passes | jq -r '[.outcome, .compile_any] | @tsv'
         mkdir any/x; cd any/x; unzip -q ../built/pkgs/passes.zip
         for zo in $(find . -name '*.zo'); do head -c 16 $zo | tr -cd 'a-z-'; echo; done | sort -u
         find . -name '*.dep' -exec cut -c 1-9 {} + | sort -u
         cd ../..; export PLTUSERHOME=$PWD/raco-any; mkdir $PLTUSERHOME
         raco pkg install --scope user --binary-lib --no-docs --auto --catalog file://$PWD/any/built/catalog passes \
            > raco.log 2>&1 || { tail -n 20 raco.log; exit 1; }
         racket -e '(require passes) (double 21)'",
    );
    assert_eq!(kinds, "pass\ttrue\nlinklet\n(\"8.7\" #f\n42\n".replace("8.7", &version(site)));
}

/// What fails on the machine itself is tried on its fallback, and passes with a finding there; what passes is not tried there.
fn the_fallback_platform_comes_last(site: &Site) {
    site.sh_ok(&site.make("eco-last", "state"));
    let told = site.sh_ok(
        "pkg-run-one -q --machine eco-last --archive work/new/archive --out last --installed eco-last.installation.json \
            needs-program | jq -r '.outcome, (.findings[] | .code + \": \" + .message)'
         pkg-run-one -q --machine eco-last --archive work/new/archive --out last --installed eco-last.installation.json \
            --try-anyway test-fails | jq -r '.outcome, [.findings[].code] == []'",
    );
    let [passed, finding, failed, none] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert_eq!((passed, failed, none), ("pass", "test-fail", "true"), "{told}");
    assert!(finding.starts_with("needs-fallback: passes only on the fallback machine: "), "{told}");
}

fn version(site: &Site) -> String {
    site.sh_ok("racket -e '(display (version))'")
}

/// What is no longer selected is set aside, and the report of the run before is part of the history.
fn a_smaller_selection_leaves_nothing_of_the_others(site: &Site) {
    site.sh_ok("rm work/new/out/results/passes.json");
    let made = sh(&site.make("eco-minimal", "OLD=none AFFECTED='--package passes'"), site.path());
    assert!(made.status.success(), "{}", text(&made));
    assert_eq!(results(&site.path().join("work")).into_keys().collect::<Vec<_>>(), ["passes"]);
    assert_eq!(site.sh_ok("ls work/new/out/built/catalog/pkg"), "passes\n");
    assert_eq!(site.sh_ok("jq -r '.packages[].package' work/report/report.json"), "passes\n");
    let kept =
        site.sh_ok("ls work/history | wc -l; jq '.packages | length > 30' work/history/*.json | sort -u");
    assert!(kept.ends_with("\ntrue\n"), "{kept}");
}

/// Processes that run a program from this directory.
fn running(dir: &Path, program: &str) -> Vec<String> {
    let of = |pid: &str| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let is_program = line.split('\0').next()?.rsplit('/').next() == Some(program);
        let is_here = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == dir);
        (is_program && is_here).then(|| pid.to_owned())
    };
    fs::read_dir("/proc").expect("/proc").filter_map(|entry| of(entry.ok()?.file_name().to_str()?)).collect()
}

/// kill -9 of make, of pkg-run-one and of vm-snapshot in mid-build: after the next command nothing is left behind, and
/// no verdict is wrong.
#[test]
fn killed_in_mid_build() {
    if !require("killed_in_mid_build", &NEEDS) {
        return;
    }
    let site = Site::new();
    let only = "OLD=none AFFECTED='--package hangs-asleep,undeclared'";
    let make = site.make("eco-minimal", only);
    for victim in ["make", "pkg-run-one", "vm-snapshot"] {
        // it takes some seconds: enough to be killed in
        site.sh_ok("rm -f work/new/out/results/hangs-asleep.json");
        let mut making = command("sh", site.path())
            .arg("-c")
            .arg(format!("exec {make}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(site.path().join("make.log")).expect("a log"))
            .spawn()
            .expect("make runs");
        let begin = Instant::now();
        while ["pkg-run-one", "vm-snapshot"].iter().any(|program| running(site.path(), program).is_empty()) {
            assert!(begin.elapsed() < Duration::from_secs(120), "{}", site.sh_ok("cat make.log"));
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(700));
        if victim == "make" {
            making.kill().expect("killed");
        } else {
            let pids = running(site.path(), victim);
            assert!(!pids.is_empty(), "no {victim} to kill\n{}", site.sh_ok("cat make.log"));
            sh(&format!("kill -9 {}", pids.join(" ")), site.path());
        }
        let _ = making.wait();
    }
    let made = sh(&make, site.path());
    assert!(made.status.success(), "{}", text(&made));
    assert_eq!(site.remains(), Vec::<String>::new());
    let verdicts = site.sh_ok("jq -r '.packages[0] + \" \" + .outcome' work/new/out/results/*.json");
    assert_eq!(verdicts, "hangs-asleep test-fail\nno-tests pass\npasses pass\nundeclared pass\n");
    a_change_is_blamed_and_bisected(&site);
    an_installer_of_a_site_makes_the_state(&site);
    assert_eq!(site.remains(), Vec::<String>::new());
}

fn a_site_of_built_packages_has_their_documents(site: &Site) {
    let assembled = site
        .sh_ok(&format!("{}/scripts/assemble-site --machine eco work/new/out built-site", root().display()));
    let assembled: serde_json::Value = serde_json::from_str(&assembled).expect("JSON");
    assert_eq!(assembled["conflicting"], serde_json::json!(["clash-a", "clash-b"]), "{assembled}");
    assert_eq!(assembled["documented"], 1, "{assembled}");
    site.sh_ok("grep -q 'What it is all about' built-site/doc/documented/index.html; test -f built-site/doc/index.html");
    // as pkg-build's users install: the built form, without what only building needs
    let seen = site.sh_ok(
        "export PLTUSERHOME=$PWD/raco-site; mkdir $PLTUSERHOME
         raco pkg install --scope user --binary-lib --no-docs --auto --catalog file://$PWD/built-site/catalog passes \
            > raco.log 2>&1 || { tail -n 20 raco.log; exit 1; }
         racket -e '(require passes) (double 21)'; find $PLTUSERHOME -path '*/passes/main.rkt'",
    );
    assert_eq!(seen.trim(), "42", "it runs, and its source is not there");
}

/// A minimal Racket from the installer of a site, by way of HTTP; the machine's own is not used.
fn an_installer_of_a_site_makes_the_state(site: &Site) {
    site.sh_ok(&format!("{}/tests/ecosystem/make-installer eco/site", root().display()));
    let url = site.sh_ok("jq -r 'select(.name == \"from-zip\").source' lines.jsonl");
    let url = url.trim().trim_end_matches("from-zip.zip");
    let install = format!("{}/scripts/install-racket --site {url} --snapshot from-site", root().display());
    assert_eq!(site.sh_ok(&format!("{install} --list-installers | wc -l")).trim(), "2");
    let unsaid = sh(&format!("{install} eco-minimal"), site.path());
    assert_eq!(unsaid.status.code(), Some(2), "which of the two is not said: {}", text(&unsaid));
    let name = "{1} Minimal Racket | {3} Linux | {1} 64-bit x86_64";
    let install = format!("{install} --installer '{name}' --installation from-site.json eco-minimal");
    let first = sh(&install, site.path());
    assert!(first.status.success(), "{}", text(&first));
    assert_eq!(site.sh_ok("jq -c .packages from-site.json"), "[\"base\",\"racket-lib\"]\n");
    assert_eq!(
        site.sh_ok("jq -r '.catalogs[]' from-site.json").trim(),
        format!("{}/catalog/", url.trim_end_matches('/'))
    );
    let asked = site.sh_ok(
        "id=$(vm-snapshot open eco-minimal --snapshot from-site --owner 0 | jq -r .id)
         vm-snapshot exec $id -- raco pkg config catalogs; vm-snapshot close $id",
    );
    assert!(asked.contains(url), "{asked}");
    let again = sh(&install, site.path());
    assert!(text(&again).contains("has the state \"from-site\" already"), "{}", text(&again));
    // a changed installer makes a new state
    let fingerprint =
        || site.sh_ok("jq -r .fingerprint from-site.json; vm-snapshot list eco-minimal | jq -r .image_id");
    let before = fingerprint();
    site.sh_ok("for f in eco/site/installers/*.sh; do { head -n 1 $f; echo '# changed'; tail -n +2 $f; } > new; cat new > $f; done");
    let changed = sh(&install, site.path());
    assert!(changed.status.success() && !text(&changed).contains("already"), "{}", text(&changed));
    assert_ne!(fingerprint(), before);
    let outcome = site.sh_ok(
        "pkg-run-one -q --machine eco-minimal --snapshot from-site --installed from-site.json \
            --archive sides/new/archive --out from-site cycle-a | jq -r .outcome
         grep -h -A1 'main collects' from-site/logs/cycle-a/install.txt",
    );
    assert!(outcome.starts_with("pass\n") && outcome.contains("/usr/local/racket/collects"), "{outcome}");
}

/// Both sides, the old one only where the new one failed; then the commit and the package that did it are found.
fn a_change_is_blamed_and_bisected(site: &Site) {
    let commits = site.sh_ok(
        "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org \
            GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
         git init -q -b main code; cp -R eco/packages/passes eco/packages/cycle-a code; cd code
         git add -A; git commit -q -m Start; git rev-parse HEAD
         echo ';; a comment' >> passes/main.rkt; git commit -q -a -m 'Comment'
         sed -i 's/double/twice/g' passes/main.rkt; git commit -q -a -m 'Call it twice'; git rev-parse HEAD
         echo ';; another' >> passes/main.rkt; echo ';; one' >> cycle-a/main.rkt; git commit -q -a -m 'More comments'",
    );
    let [start, guilty] = commits.lines().collect::<Vec<_>>()[..] else { panic!("two commits: {commits}") };
    let make = site.make(
        "eco-minimal",
        "WORK=sides OLD=failed AFFECTED='--package undeclared,from-zip,cycle-a' \
         EDIT='--package passes --to-checkout code/passes --package cycle-a --to-checkout code/cycle-a'",
    );
    let summary: serde_json::Value = {
        let made = sh(&make, site.path());
        assert!(made.status.success(), "{}", text(&made));
        let last = String::from_utf8_lossy(&made.stdout).lines().last().unwrap_or_default().to_owned();
        serde_json::from_str(&last).unwrap_or_else(|error| panic!("{error}: {}", text(&made)))
    };
    assert_eq!(summary["counts"]["regressed"], 2, "{summary}");
    assert_eq!(summary["causes"], 1, "{summary}");
    let regressed = site.sh_ok("report-html -q --new sides/new --old sides/old --list regressed");
    assert_eq!(regressed, "no-tests\nundeclared\n");
    let old = site.sh_ok("ls sides/old/out/results");
    assert_eq!(old, "no-tests.json\npasses.json\nundeclared.json\n", "the old side runs only what failed");
    let bisect = format!(
        "{}/scripts/bisect --work sides --machine eco-minimal --limits {}/tests/ecosystem/limits.json --package no-tests",
        root().display(),
        root().display()
    );
    let culprit = site.sh_ok(&format!("{bisect} | jq -r .culprit"));
    assert_eq!(culprit.trim(), "passes");
    let commit = site.sh_ok(&format!(
        "export GIT_CONFIG_GLOBAL=/dev/null
         {bisect} --changed passes --repo code --path passes --good {start} --bad main | jq -r .commit"
    ));
    assert_eq!(commit.trim(), guilty);
}
