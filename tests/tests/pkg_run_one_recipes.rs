//! The recipes for other ecosystems, for real: `cargo` builds and tests a crate against a changed dependency from the
//! registry, off-line; `command` runs any steps, here a C library and a program that needs it.

use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tests::{command, require, root, sh_ok};

fn manifest(dir: &Path, packages: &[(&str, &[&str])]) {
    let mut text = String::new();
    for (name, dependencies) in packages {
        let dependencies: Vec<Value> = dependencies.iter().map(|name| json!({"name": name})).collect();
        let record = json!({"kind": "archived", "v": 1, "package": name, "status": "archived", "source": name,
                            "checksum": "", "dependencies": dependencies, "catalog_id": "c"});
        text.push_str(&format!("{record}\n"));
    }
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("manifest.jsonl"), text).expect("written");
}

/// Runs a package on this host, in a fresh directory, and gives its result.
fn run(recipe: &str, dir: &Path, archive: &str, out: &str, package: &str) -> Value {
    let home = std::env::var("HOME").unwrap_or_default();
    let output = command("pkg-run-one", dir)
        .args(["-q", "--recipe", recipe, "--machine", "host", "--archive", archive, "--out", out, "--open"])
        .arg(root().join("tests/cases/pkg-run-one/common/open"))
        .arg(package)
        // rustup's cargo finds its toolchain through these
        .env("CARGO_HOME", std::env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo")))
        .env("RUSTUP_HOME", std::env::var("RUSTUP_HOME").unwrap_or(format!("{home}/.rustup")))
        .output()
        .expect("pkg-run-one runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a run document")
}

fn short(run: &Value) -> Value {
    json!([run["outcome"], run["cause"], run["blame"]["code"], run["blame"]["package"], run["blame"]["file"]])
}

#[test]
fn a_crate_against_a_changed_dependency() {
    if !require("a_crate_against_a_changed_dependency", &["cargo"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let dir = scratch.path();
    let app = dir.join("old/pkgs/app");
    fs::create_dir_all(app.join("src")).expect("a directory");
    fs::write(
        app.join("Cargo.toml"),
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nitoa = \"1\"\n",
    )
    .expect("written");
    fs::write(
        app.join("src/lib.rs"),
        "pub fn shown(n: u32) -> String { itoa::Buffer::new().format(n).to_owned() }\n\
         #[test] fn small() { assert_eq!(shown(7), \"7\"); }\n#[test] fn large() { assert_eq!(shown(70000), \"70000\"); }\n",
    )
    .expect("written");
    // the registry's crates, off-line: this workspace itself needs itoa, so it is in the cache
    let vendored = std::process::Command::new("cargo")
        .args(["vendor", "--offline", "--quiet", "../../vendor"])
        .current_dir(&app)
        .output()
        .expect("cargo runs");
    assert!(vendored.status.success(), "{}", String::from_utf8_lossy(&vendored.stderr));
    // the real crate as somebody's working copy, without what only its own developers need
    sh_ok(
        "cp -R old/vendor/itoa old/pkgs/itoa; cd old/pkgs/itoa; rm -rf benches tests .cargo-checksum.json Cargo.lock",
        dir,
    );
    fs::write(
        dir.join("old/pkgs/itoa/Cargo.toml"),
        "[package]\nname = \"itoa\"\nversion = \"1.99.0\"\nedition = \"2021\"\n[features]\nno-panic = []\n",
    )
    .expect("written");
    sh_ok("cp -R old new", dir);
    let lib = dir.join("new/pkgs/itoa/src/lib.rs");
    let text = fs::read_to_string(&lib).expect("readable");
    assert!(text.contains("pub fn format<"), "the change must fit the crate");
    fs::write(
        &lib,
        text.replace("pub fn format<", "pub fn print<").replace("buffer.format(", "buffer.print("),
    )
    .expect("written");
    for side in ["old", "new"] {
        manifest(&dir.join(side), &[("itoa", &[]), ("app", &["itoa"])]);
    }
    let old = run("cargo", dir, "old", "out-old", "itoa");
    assert_eq!(short(&old), json!(["pass", null, null, null, null]), "{old:#}");
    let old = run("cargo", dir, "old", "out-old", "app");
    assert_eq!(short(&old), json!(["pass", null, null, null, null]), "{old:#}");
    let tests = &old["phases"].as_array().expect("phases").last().expect("a phase")["tests"];
    assert_eq!((&tests["status"], &tests["passed"]), (&json!("passed"), &json!(2)), "{tests}");

    let new = run("cargo", dir, "new", "out-new", "itoa");
    assert_eq!(new["outcome"], "pass", "{new:#}");
    let new = run("cargo", dir, "new", "out-new", "app");
    assert_eq!(
        short(&new),
        json!(["build-fail", "package", "compile-error", "app", "src/lib.rs"]),
        "{new:#}"
    );
    assert!(new["blame"]["message"].as_str().expect("a message").contains("format"), "{new:#}");

    // and a change that compiles, but breaks a test
    fs::write(&lib, &text).expect("written");
    let app_lib = dir.join("new/pkgs/app/src/lib.rs");
    let app_text = fs::read_to_string(&app_lib).expect("readable");
    fs::write(&app_lib, app_text.replace("\"70000\"", "\"70001\"")).expect("written");
    assert_eq!(run("cargo", dir, "new", "out-new", "itoa")["outcome"], "pass");
    let new = run("cargo", dir, "new", "out-new", "app");
    assert_eq!(short(&new), json!(["test-fail", "package", "test-failure", "app", "src/lib.rs"]), "{new:#}");
    let tests = &new["phases"].as_array().expect("phases").last().expect("a phase")["tests"];
    assert_eq!((&tests["passed"], &tests["failures"][0]["name"]), (&json!(1), &json!("large")), "{tests}");
}

#[test]
fn any_steps_at_all() {
    if !require("any_steps_at_all", &["cc", "ar"]) {
        return;
    }
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let dir = scratch.path();
    let file = |path: &str, text: &str| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("written");
    };
    file("archive/pkgs/add/add.h", "int add(int, int);\n");
    file("archive/pkgs/add/add.c", "int add(int a, int b) { return a + b; }\n");
    file(
        "archive/pkgs/sum/sum.c",
        "#include <stdio.h>\n#include \"add.h\"\nint main(void) { return printf(\"%d\\n\", add(2, 3)) < 0; }\n",
    );
    file("archive/steps/add/build", "cc -c add.c\nar rc libadd.a add.o\n");
    file("archive/steps/add/test", "echo 1..1\ntest -s libadd.a && echo \"ok 1 - it is there\"\n");
    file(
        "archive/steps/sum/build",
        "tar xzf \"$BUILT/pkgs/add.tar.gz\"\ncc -Iadd -o sum sum.c add/libadd.a\n",
    );
    file(
        "archive/steps/sum/test",
        "test \"$(./sum)\" = 5 && echo \"ok 1 - two and three\" || { echo \"not ok 1 - two and three\"; exit 1; }\n",
    );
    manifest(&dir.join("archive"), &[("add", &[]), ("sum", &["add"])]);
    for package in ["add", "sum"] {
        let result = run("command", dir, "archive", "out", package);
        assert_eq!(result["outcome"], "pass", "{result:#}");
        assert_eq!(
            result["phases"].as_array().expect("phases").last().expect("a phase")["tests"]["passed"],
            1
        );
    }
    // the library changes: first so that the program does not compile, then so that its test fails
    file("archive/pkgs/add/add.h", "int add(int, int, int);\n");
    assert_eq!(run("command", dir, "archive", "out", "add")["outcome"], "pass");
    let result = run("command", dir, "archive", "out", "sum");
    assert_eq!(
        short(&result),
        json!(["build-fail", "package", "compile-error", "sum", "sum.c"]),
        "{result:#}"
    );
    file("archive/pkgs/add/add.h", "int add(int, int);\n");
    file("archive/pkgs/add/add.c", "int add(int a, int b) { return a - b; }\n");
    assert_eq!(run("command", dir, "archive", "out", "add")["outcome"], "pass");
    let result = run("command", dir, "archive", "out", "sum");
    assert_eq!(short(&result), json!(["test-fail", "package", "test-failure", "sum", null]), "{result:#}");
}
