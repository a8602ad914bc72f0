//! `pkg-archive` beside the real `raco`: same zips, same modules, each goes on with the other's state, and what we archive
//! is what raco installs.

use std::fs;
use std::path::Path;

/// Where Debian and Racket's own installers put the packages of the distribution.
fn distribution() -> Option<String> {
    let dir =
        tests::sh_ok("racket -l racket/base -l setup/dirs -e '(display (find-pkgs-dir))'", Path::new("/"));
    Path::new(&dir).join("2d-lib/info.rkt").exists().then_some(dir)
}

/// A catalog of some real packages, as Racket makes it of their directories.
fn real_catalog(dir: &Path, packages: &str) -> bool {
    let Some(pkgs) = distribution() else { return false };
    fs::create_dir(dir.join("some")).unwrap();
    for package in packages.split_whitespace() {
        tests::sh_ok(&format!("cp -r '{pkgs}/{package}' some/"), dir);
    }
    tests::sh_ok(
        "export PLTUSERHOME=$PWD/raco; racket -l- pkg/dirs-catalog --immediate cat some > /dev/null 2>&1",
        dir,
    );
    true
}

const PACKAGES: &str =
    "2d-lib algol60 base compatibility-lib datalog errortrace-lib html-lib icons srfi-lib xrepl-lib";

/// Names, kinds, contents and executable bits of all zips, in the order of the zips.
const LISTING: &str = r#"
import zipfile, sys, glob, hashlib, os
for path in sorted(glob.glob(sys.argv[1] + "/*.zip")):
    with zipfile.ZipFile(path) as z:
        for i in z.infolist():
            name = i.filename if i.flag_bits & 0x800 else i.filename.encode("cp437").decode("utf-8")
            print(os.path.basename(path), name, hashlib.sha1(z.read(i)).hexdigest(), (i.external_attr >> 16) & 0o111)
"#;

#[test]
fn zips_modules_and_dependencies_are_those_of_raco() {
    if !tests::require("zips_are_those_of_raco", &["raco", "racket", "python3"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    if !real_catalog(dir, PACKAGES) {
        return tests::skip("zips_are_those_of_raco", "no packages of the distribution here");
    }
    // what raco has special ideas about: one directory at the root, links, empty directories, modes
    tests::sh_ok(
        "mkdir -p odd/only/dir odd/only/compiled && cd odd && echo x > only/x.rkt && chmod +x only/x.rkt && echo zo > only/compiled/x_rkt.zo \
         && ln -s x.rkt only/link.rkt && mkdir .git && echo c > .git/config && rm -r .git && \
         echo '#hash((name . \"odd\") (source . \"../odd\") (checksum . \"\") (author . \"\"))' > ../cat/pkg/odd; \
         cd ..; mkdir many; cd many; mkdir .hidden empty λ; echo 1 > 'a b'; echo 2 > λ/é; echo 3 > .hidden/x~; \
         echo '#hash((name . \"many\") (source . \"../many\") (checksum . \"\") (author . \"\"))' > ../cat/pkg/many",
        dir,
    );
    tests::sh_ok(
        "export PLTUSERHOME=$PWD/raco; raco pkg catalog-archive theirs cat > /dev/null; pkg-archive -q --mode as-is cat ours > /dev/null",
        dir,
    );
    fs::write(dir.join("listing.py"), LISTING).unwrap();
    let theirs = tests::sh_ok("python3 listing.py theirs/pkgs", dir);
    let ours = tests::sh_ok("python3 listing.py ours/pkgs", dir);
    assert!(theirs.lines().count() > 300, "{theirs}");
    for (their, our) in theirs.lines().zip(ours.lines()) {
        assert_eq!(their, our);
    }
    assert_eq!(theirs.lines().count(), ours.lines().count());
    // what pkg/dirs-catalog computed with Racket's own functions
    let compare = r##"
      (define (read-all cat) (call-with-input-file (build-path cat "pkgs-all") read))
      (define (norm key e) (sort (map (lambda (v) (format "~s" (if (and (pair? v) (null? (cdr v))) (car v) v))) (hash-ref e key '())) string<?))
      (define ours (read-all "ours/catalog"))
      (for ([f (directory-list "cat/pkg")])
        (define e (call-with-input-file (build-path "cat/pkg" f) read))
        (define o (hash-ref ours (path->string f)))
        (when (hash-ref e 'modules #f)
          (for ([key '(modules dependencies)])
            (unless (equal? (norm key e) (norm key o))
              (printf "~a ~a: ~a ~a\n" f key (norm key e) (norm key o))))))"##;
    fs::write(dir.join("compare.rkt"), format!("#lang racket/base\n{compare}")).unwrap();
    assert_eq!(tests::sh_ok("racket compare.rkt", dir), "");
}

#[test]
fn each_goes_on_with_the_state_of_the_other() {
    if !tests::require("each_goes_on_with_the_state", &["raco", "racket"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    if !real_catalog(dir, "2d-lib icons algol60") {
        return tests::skip("each_goes_on_with_the_state", "no packages of the distribution here");
    }
    let raco =
        |rest: &str| tests::sh_ok(&format!("PLTUSERHOME=$PWD/raco raco pkg catalog-archive {rest}"), dir);
    // zips with checksums, as a snapshot site has them
    raco("site cat");
    raco("--state s.sqlite theirs site/catalog");
    let out = tests::sh_ok(
        "mv site/pkgs away; pkg-archive --state s.sqlite site/catalog theirs 2> /dev/null | tail -n 1; mv away site/pkgs",
        dir,
    );
    assert!(out.contains("\"unchanged\":3"), "{out}");
    // kept byte for byte, so that checksums of the site stay valid
    tests::sh_ok(
        "pkg-archive -q --state o.sqlite --relative site/catalog ours; for z in site/pkgs/*; do cmp $z ours/pkgs/${z##*/}; done",
        dir,
    );
    let out = raco("--state o.sqlite ours site/catalog");
    assert!(!out.contains("Archiving"), "{out}");
}

#[test]
fn raco_installs_from_the_archive() {
    if !tests::require("raco_installs_from_the_archive", &["raco", "racket"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let make = |name: &str, needs: &str, module: &str| {
        let home = dir.join("pkgs").join(name).join(name);
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(dir.join("cat/pkg")).unwrap();
        fs::write(
            home.parent().unwrap().join("info.rkt"),
            format!("#lang info\n(define collection 'multi)\n(define deps '({needs}))\n"),
        )
        .unwrap();
        fs::write(home.join("main.rkt"), module).unwrap();
        fs::write(
            dir.join("cat/pkg").join(name),
            format!("#hash((name . \"{name}\") (source . \"../pkgs/{name}/\") (checksum . \"\"))"),
        )
        .unwrap();
    };
    make("low", "\"base\"", "#lang racket/base\n(provide answer)\n(define answer 42)\n");
    make(
        "high",
        "\"base\" (\"low\" #:version \"0.0\")",
        "#lang racket/base\n(require low)\n(display answer)\n",
    );
    tests::sh_ok("pkg-archive -q --relative cat archive; mv archive moved", dir);
    let out = tests::sh_ok(
        "export PLTUSERHOME=$PWD/raco; raco pkg install --catalog moved/catalog --auto --no-docs high > log 2>&1; racket -l high",
        dir,
    );
    assert_eq!(out, "42");
}

#[test]
fn sqlite_catalogs_are_read() {
    if !tests::require("sqlite_catalogs_are_read", &["raco", "racket"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    if !real_catalog(dir, "2d-lib draw-lib") {
        return tests::skip("sqlite_catalogs_are_read", "no packages of the distribution here");
    }
    tests::sh_ok(
        "PLTUSERHOME=$PWD/raco raco pkg catalog-copy cat c.sqlite; pkg-archive -q --relative c.sqlite one; pkg-archive -q --relative cat two",
        dir,
    );
    tests::sh_ok(
        "cmp one/pkgs/2d-lib.zip two/pkgs/2d-lib.zip; cmp one/catalog/pkgs-all two/catalog/pkgs-all",
        dir,
    );
    // every dependency came through the database and agrees with what was archived
    let manifest = fs::read_to_string(dir.join("one/manifest.jsonl")).unwrap();
    assert!(!manifest.contains("catalog-differs"), "{manifest}");
}

#[test]
fn plt_archives_are_read() {
    if !tests::require("plt_archives_are_read", &["raco", "unzip"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    tests::sh_ok(
        "mkdir -p p/a/b cat/pkg; printf '#lang info\\n(define collection (quote multi))\\n' > p/info.rkt; \
         head -c 30000 /dev/urandom > p/a/b/data; echo '#lang racket/base' > p/a/main.rkt; \
         PLTUSERHOME=$PWD/raco raco pkg create --format plt p > /dev/null; \
         echo \"#hash((source . \\\"../p.plt\\\") (checksum . \\\"$(cat p.plt.CHECKSUM)\\\"))\" > cat/pkg/p; \
         pkg-archive -q cat archive; mkdir out; cd out; unzip -q ../archive/pkgs/p.zip; diff -r . ../p",
        dir,
    );
}

/// Expressions for `deps`, each with what else the file defines: what Racket makes of them is what we make of them.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("", "(list \"a\" '(\"b\" #:version \"1.0\"))"),
    ("(define version \"2.3\")", "`(\"a\" (\"b\" #:version ,version) ,@(list \"c\" \"d\"))"),
    ("(define x '(\"a\" \"b\" \"c\"))", "(append (cdr x) (list (car x)))"),
    ("", "(reverse (list* \"a\" \"b\" '(\"c\")))"),
    ("(define on? #t)", "(if on? '(\"yes\") '(\"no\"))"),
    ("", "(if (equal? '(1 \"2\") (list 1 \"2\")) (list \"same\") (list \"other\"))"),
    ("", "(list (string-append \"a\" \"-\" \"b\"))"),
    ("", "(cons \"a\" (cons \"b\" '()))"),
    ("", "`(\"a\" . ,(list \"b\"))"),
    ("", "'[\"a\" {\"b\" #:platform windows}]"),
    ("", "'((\"a\" #:platform #rx\"^win\" #:version \"1.0\") (\"b\" #:platform \"x86_64-linux\"))"),
    ("", "(if (getenv \"NO_SUCH_VARIABLE_HERE\") '(\"yes\") '(\"no\"))"),
    (
        "(define h (make-immutable-hash '((a . 1))))",
        "(if (equal? (hash-set h 'a 2) (hash 'a 2)) '(\"yes\") '(\"no\"))",
    ),
    ("", "(list (path->string (build-path \"x\")))"),
    ("", "'(\"http://example.org/some/where.zip\" \"git://github.com/u/v?path=w\" \"a\")"),
    ("(define list '(\"shadowed\"))", "list"),
    ("#| (define deps 1) |# #;(define deps 2)", "'(\"a\") ; end"),
    ("", "(quote ())"),
];

#[test]
fn info_files_mean_what_racket_makes_of_them() {
    if !tests::require("info_files_mean_what_racket_makes", &["racket"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    fs::create_dir_all(dir.join("cat/pkg")).unwrap();
    for (at, (before, expression)) in EXPRESSIONS.iter().enumerate() {
        for (form, text) in [
            ("lang", format!("; a comment\n#lang info\n{before}\n(define deps {expression}\n)")),
            (
                "module",
                format!(
                    "(module info setup/infotab (#%module-begin {before}\n (define deps {expression}\n)))"
                ),
            ),
        ] {
            let name = format!("p{at:02}-{form}");
            fs::create_dir_all(dir.join("pkgs").join(&name)).unwrap();
            fs::write(dir.join("pkgs").join(&name).join("info.rkt"), text).unwrap();
            fs::write(
                dir.join("cat/pkg").join(&name),
                format!("#hash((source . \"../pkgs/{name}\") (checksum . \"\"))"),
            )
            .unwrap();
        }
    }
    let ask = r##"#lang racket/base
      (require setup/getinfo pkg/name racket/list)
      (define (field kw d) (let ([m (and (pair? d) (memq kw d))]) (if m (format "~s" (cadr m)) "-")))
      (for ([d (sort (map path->string (directory-list "pkgs")) string<?)])
        (define deps ((get-info/full (build-path (current-directory) "pkgs" d)) 'deps))
        (printf "~a" d)
        (for ([x deps])
          (printf " ~a/~a/~a" (package-source->name (if (pair? x) (car x) x)) (field '#:version x) (field '#:platform x)))
        (newline))"##;
    fs::write(dir.join("ask.rkt"), ask).unwrap();
    let theirs = tests::sh_ok("racket ask.rkt", dir);
    assert_eq!(theirs.lines().count(), 2 * EXPRESSIONS.len());
    tests::sh_ok("pkg-archive -q cat archive > /dev/null", dir);
    let manifest = fs::read_to_string(dir.join("archive/manifest.jsonl")).unwrap();
    for (line, their) in manifest.lines().zip(theirs.lines()) {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut our = record["package"].as_str().unwrap().to_owned();
        for dependency in record["dependencies"].as_array().unwrap() {
            let version =
                dependency["version"].as_str().map_or("-".to_owned(), |version| format!("\"{version}\""));
            let platform = dependency["platform"].as_str().unwrap_or("-");
            our += &format!(" {}/{version}/{platform}", dependency["name"].as_str().unwrap());
        }
        assert_eq!(our, their, "{}", record["findings"]);
        assert_eq!(record["dependencies_from"], "info");
    }
}

/// Packages whose `info.rkt` only Racket can evaluate, one that nobody can, and a catalog that says otherwise.
fn beyond(dir: &Path) {
    fs::create_dir_all(dir.join("cat/pkg")).unwrap();
    for (name, fields) in [
        (
            "chosen",
            "(define deps (if (system-library-subpath #f) '(\"a\" (\"b\" #:version \"1.0\")) '(\"no\")))",
        ),
        (
            "counted",
            "(define h (hash-update (hash 'x '(\"c\")) 'x reverse))\n(define collection (car '(multi)))\n(define build-deps (if (equal? h (hash 'x '(\"c\"))) '(\"c\") '()))\n(define version (if (collection-path \"racket\") \"2.5\" \"1\"))",
        ),
        ("hopeless", "(define deps (list (path->string (collection-path \"no-such-collection-here\"))))"),
        ("plain", "(define deps '(\"d\"))"),
    ] {
        fs::create_dir_all(dir.join("pkgs").join(name)).unwrap();
        fs::write(dir.join("pkgs").join(name).join("info.rkt"), format!("#lang info\n{fields}\n")).unwrap();
        let entry =
            format!("#hash((source . \"../pkgs/{name}\") (checksum . \"\") (dependencies . (\"old\")))");
        fs::write(dir.join("cat/pkg").join(name), entry).unwrap();
    }
    fs::write(dir.join("m.json"), r#"{"kind":"machines","v":1,"machines":[{"name":"m","driver":"local"}]}"#)
        .unwrap();
}

/// Per package: where its dependencies come from, their names and its version; and the message of `not-evaluated`.
fn told(dir: &Path) -> Vec<(String, String)> {
    let manifest = fs::read_to_string(dir.join("archive/manifest.jsonl")).unwrap();
    let records = manifest.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let names = |record: &serde_json::Value| -> Vec<String> {
        let all = record["dependencies"].as_array().unwrap();
        all.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    records
        .map(|record| {
            let findings = record["findings"].as_array().unwrap();
            let why = findings.iter().find(|finding| finding["code"] == "not-evaluated");
            let from = record["dependencies_from"].as_str().unwrap();
            let version = record["version"].as_str().unwrap_or("-");
            (
                format!(
                    "{} {from} {} {version}",
                    record["package"].as_str().unwrap(),
                    names(&record).join(",")
                ),
                why.map_or(String::new(), |finding| finding["message"].as_str().unwrap().to_owned()),
            )
        })
        .collect()
}

#[test]
fn racket_in_a_machine_is_asked_where_needed() {
    if !tests::require("racket_in_a_machine_is_asked", &["racket", "jq"]) {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    beyond(dir);
    let archive =
        |options: &str| tests::sh_ok(&format!("pkg-archive -q {options} cat archive > /dev/null"), dir);
    // nobody to ask
    archive("");
    let seen = told(dir);
    let lines: Vec<&str> = seen.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(
        lines,
        ["chosen catalog old -", "counted catalog old -", "hopeless catalog old -", "plain info d -"]
    );
    // the same packages, unchanged, are asked about now; one machine for all, and it is gone afterwards
    let open = "vm-snapshot --state-dir state --machines m.json open m";
    archive(&format!("--info-machine \"sh -c 'echo >> opened; exec {open}'\""));
    let seen = told(dir);
    let lines: Vec<&str> = seen.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(
        lines,
        ["chosen racket a,b -", "counted racket c 2.5", "hopeless catalog old -", "plain info d -"]
    );
    assert!(seen[0].1.is_empty() && seen[1].1.is_empty(), "{seen:?}");
    assert!(
        seen[2].1.contains("racket gave no answer: ") && seen[2].1.contains("collection not found"),
        "{seen:?}"
    );
    assert_eq!(tests::sh_ok("wc -l < opened; ls state/instances", dir).trim(), "1");
    let catalog = fs::read_to_string(dir.join("archive/catalog/pkg/chosen")).unwrap();
    assert!(catalog.contains(r#"("b" #:version "1.0")"#), "{catalog}");
}

#[test]
fn without_an_answer_the_catalog_is_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    beyond(dir);
    let testbed = r#"{"kind":"testbed","v":1,"id":"i","machine":"m","driver":"x","exec":["sh","-c","EXEC"],"close":["touch","closed"],"work_dir":"/"}"#;
    for (exec, why) in [
        ("exit 3", "exit status: 3"),
        ("echo", "what racket printed"),
        ("yes", "more than"),
        ("", "no place"),
    ] {
        fs::write(dir.join("testbed.json"), testbed.replace("EXEC", exec)).unwrap();
        let command = if exec.is_empty() { "sh -c 'echo no place >&2; exit 75'" } else { "cat testbed.json" };
        tests::sh_ok(
            &format!("rm -f closed; pkg-archive -q --info-machine \"{command}\" cat archive > /dev/null"),
            dir,
        );
        let seen = told(dir);
        assert_eq!(seen[0].0, "chosen catalog old -");
        assert!(seen[0].1.contains(why), "{exec}: {seen:?}");
        assert_eq!(seen[3].0, "plain info d -");
        assert_eq!(dir.join("closed").exists(), !exec.is_empty(), "{exec}");
        if exec == "exit 3" {
            // nothing beyond the language: no machine
            tests::sh_ok(
                "pkg-archive -q --info-machine 'touch opened' --include plain cat other > /dev/null; test ! -e opened",
                dir,
            );
        }
    }
    // told to stop while Racket is asked: the machine is closed and nothing is concluded from the silence
    fs::write(dir.join("testbed.json"), testbed.replace("EXEC", "touch asked; exec sleep 60")).unwrap();
    let script = "rm -f closed; timeout 2 pkg-archive -q --info-machine 'cat testbed.json' cat stopped";
    assert_eq!(tests::sh(script, dir).status.code(), Some(124));
    assert!(dir.join("asked").exists() && dir.join("closed").exists());
    assert!(!dir.join("stopped/manifest.jsonl").exists());
}
