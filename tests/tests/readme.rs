//! What README.md tells people to type, typed: its own lines, with the public catalog and the forge replaced by local ones
//! that behave like them.

use std::fs;
use tests::{require, root, sh, sh_ok};

/// The code block that follows a heading, the first that starts as told.
fn block(readme: &str, heading: &str, language: &str) -> String {
    let section = readme.split(&format!("\n## {heading}\n")).nth(1).expect(heading);
    let code = section.split(&format!("\n```{language}\n")).nth(1).expect(language);
    code.split("\n```").next().expect("it ends").to_owned()
}

/// A package in a git repository, a branch in a fork of it that changes what it does, and a package that needs it.
const LAY_OUT: &str = r##"
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
package() { # DIR DEPENDENCY
    mkdir -p $1
    printf '#lang info\n(define collection "%s")\n(define deps (quote ("base" %s)))\n' $(basename $1) "$2" >$1/info.rkt
}
package code/typed ''
printf '#lang racket/base\n(provide twice)\n(define (twice n) (* 2 n))\n' >code/typed/main.rkt
package packages/needs-it '"typed"'
printf '#lang racket/base\n(require typed)\n(module+ test (unless (= 4 (twice 2)) (error "not four")))\n' >packages/needs-it/main.rkt
git init -q -b main code; git -C code add -A; git -C code commit -q -m Start
git clone -q --bare code site/forge/racket/typed-racket.git
git -C code checkout -q -b YOUR-BRANCH
sed -i 's/(\* 2 n)/(+ 2 n 1)/' code/typed/main.rkt; git -C code commit -q -a -m Change
git clone -q --bare code site/forge/YOU/typed-racket.git
for r in racket YOU; do git -C site/forge/$r/typed-racket.git update-server-info; done
{
    jq -cn --arg s "${URL}forge/racket/typed-racket.git?path=typed" --arg c "$(git -C code rev-parse main)" \
        '{kind: "package", v: 1, name: "typed", source: $s, checksum: $c, author: "a@example.org", description: "", tags: []}'
    jq -cn --arg s "$PWD/packages/needs-it" \
        '{kind: "package", v: 1, name: "needs-it", source: $s, checksum: "", author: "a@example.org", description: "", tags: [],
          dependencies: [{name: "base"}, {name: "typed"}]}'
} | catalog-copy -q - site/catalog
"##;

#[test]
fn what_the_readme_says_is_what_happens() {
    let needs = ["racket", "make", "jq", "git", "setpriv", "flock", "timeout", "paste"];
    if !require("what_the_readme_says_is_what_happens", &needs) {
        return;
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("readable");
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let dir = scratch.path();
    fs::create_dir_all(dir.join("site/forge")).expect("a directory");
    let served = tests::Served::start(dir, "site");
    let url = &served.url;
    sh_ok(&format!("URL={url}\n{LAY_OUT}"), dir);
    std::os::unix::fs::symlink(root().join("scripts"), dir.join("scripts")).expect("linked");
    let local = |text: &str| {
        text.replace("https://pkgs.racket-lang.org/", &format!("{url}catalog/"))
            .replace("--repo racket/typed-racket", &format!("--repo {url}forge/racket/typed-racket.git"))
            .replace("YOU/typed-racket", &format!("{url}forge/YOU/typed-racket.git"))
            .replace("SOME-PACKAGE", "needs-it")
    };

    // a machine
    let machines = block(&readme, "Your change, in one command", "json");
    fs::write(dir.join("machines.json"), &machines).expect("written");
    if sh_ok("id -u", dir).trim() != "0" {
        sh_ok(
            "jq '.machines[].own = [\"/usr/share/racket\", \"/usr/lib/racket\"]' machines.json >m; mv m machines.json",
            dir,
        );
    }

    // one pipeline
    let pipeline = local(&block(&readme, "One pipeline", "sh"))
        .replace("racket/parser-tools", &format!("{url}forge/racket/typed-racket.git"));
    let why = sh_ok(&pipeline, dir);
    assert!(
        why.contains("needs-it: depends on typed (served from ") && why.contains("typed: served from "),
        "{why}"
    );

    // your change, in one command
    let one = local(&block(&readme, "Your change, in one command", "sh"));
    let made = sh(&one, dir);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "{told}");
    let counts = "jq -c '.packages | map([.package, .verdict])'";
    assert_eq!(
        sh_ok(&format!("{counts} work/report/report.json"), dir),
        "[[\"needs-it\",\"regressed\"],[\"typed\",\"still-passing\"]]\n",
        "{told}"
    );
    sh_ok(
        "test -s work/report/index.html; test -s work/report/report.md; test -s work/report/junit.xml",
        dir,
    );

    // the same by hand: the server and the shell are left again
    let by_hand = local(&block(&readme, "The same by hand", "sh"));
    let steps = by_hand.lines().filter(|line| line.starts_with("# ")).count();
    assert_eq!(steps, 8, "the README counts to eight");
    let by_hand =
        by_hand.replace("\nsite-serve report\n", "\ntimeout 2 site-serve report || test $? -eq 124\n");
    let made = sh(&by_hand, dir);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "{told}");
    assert_eq!(
        sh_ok(&format!("{counts} report/report.json"), dir),
        "[[\"needs-it\",\"regressed\"],[\"typed\",\"still-passing\"]]\n",
        "{told}"
    );
    assert!(String::from_utf8_lossy(&made.stdout).contains("\"listening\""), "the server ran");
    sh("vm-snapshot -q prune; vm-snapshot -q delete racket", dir);
}
