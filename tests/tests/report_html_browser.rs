//! The pages of `report-html` in a real browser: links, filter and sort, no request and nothing on the console, every rule of axe
//! in light and dark, wide and narrow, everything readable without scripts. See tests/browser/report.mjs.

use std::path::PathBuf;
use std::process::Command;

/// Where the browser test's modules are kept: outside the checkout, for all checkouts.
fn modules() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let dir = cache.join("downstream/browser");
    let wanted = std::fs::read(tests::root().join("tests/browser/package.json")).ok()?;
    let there =
        dir.join("node_modules/axe-core").is_dir() && dir.join("node_modules/playwright-core").is_dir();
    if there && std::fs::read(dir.join("package.json")).ok()? == wanted {
        return Some(dir);
    }
    std::fs::create_dir_all(&dir).ok()?;
    std::fs::write(dir.join("package.json"), wanted).ok()?;
    let install = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"])
        .current_dir(&dir)
        .status();
    install.is_ok_and(|status| status.success()).then_some(dir)
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.exists())
}

#[test]
fn pages_in_a_browser() {
    let test = "pages_in_a_browser";
    if !tests::require(test, &["node", "npm"]) {
        return;
    }
    let Some(chromium) = chromium() else { return tests::skip(test, "chromium is not installed") };
    let Some(modules) = modules() else {
        return tests::skip(test, "npm cannot install playwright-core and axe-core");
    };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let case = tests::root().join("tests/cases/report-html/change/in/work");
    // twice, so that there is a history to be shown
    for out in ["earlier", "report"] {
        let mut command = tests::command(tests::program("report-html"), scratch.path());
        command.args(["-q", "--logs", "all", "--out", out, "--old"]).arg(case.join("old"));
        command.arg("--new").arg(case.join("new"));
        if out == "report" {
            command.args(["--history", "earlier"]);
        }
        let made = command.output().expect("report-html runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let output = tests::command("node", scratch.path())
        .arg(tests::root().join("tests/browser/report.mjs"))
        .arg(&modules)
        .arg(chromium)
        .arg("report")
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert!(told["checked"].as_u64() > Some(500), "{told}");
    assert_eq!(told["failures"], serde_json::json!([]));
}
