//! The rules of the house that a machine can check: arrows between crates, sizes, manual pages, words that must not
//! be in the checkout.

use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOLS: [&str; 7] = [
    "catalog-copy",
    "catalog-edit",
    "pkg-archive",
    "site-serve",
    "vm-snapshot",
    "pkg-run-one",
    "report-html",
];

/// Which crates of ours each crate may depend on. Whatever is not here is forbidden.
fn allowed_arrows() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let libraries = ["racket-data", "catalog", "contract", "fetch", "edge"];
    let mut allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::from([
        ("racket-data", BTreeSet::new()),
        ("catalog", BTreeSet::from(["racket-data"])),
        ("contract", BTreeSet::from(["racket-data", "catalog"])),
        ("fetch", BTreeSet::new()),
        ("edge", BTreeSet::new()),
        ("tests", BTreeSet::from(["racket-data", "fetch"])),
    ]);
    for tool in TOOLS {
        allowed.insert(tool, libraries.into());
    }
    allowed
}

#[test]
fn arrows_between_crates() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(tests::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let allowed = allowed_arrows();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let Some(may) = allowed.get(name) else {
            wrong.push(format!("{name}: a crate that ARCHITECTURE.md does not know"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            if ours.contains(to) && !may.contains(to) {
                wrong.push(format!("{name} -> {to}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "arrows that the house does not have");
    assert_eq!(ours.len(), allowed.len(), "every crate of the house is there: {ours:?}");
}

/// Files that git knows or would add, relative to the root.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(tests::root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|name| tests::root().join(name).is_file())
        .collect()
}

fn rust_sources() -> Vec<PathBuf> {
    files()
        .into_iter()
        .filter(|file| file.starts_with("tools") && file.extension().is_some_and(|e| e == "rs"))
        .filter(|file| is_program(file))
        .collect()
}

#[test]
fn main_is_short_and_files_have_one_concern() {
    let mut wrong = Vec::new();
    for file in rust_sources() {
        let text = fs::read_to_string(tests::root().join(&file)).expect("readable");
        let code = text.split("\n#[cfg(test)]").next().unwrap_or("").lines().count();
        let limit = if file.ends_with("src/main.rs") { 15 } else { 400 };
        if code > limit {
            wrong.push(format!("{}: {code} lines, at most {limit}", file.display()));
        }
        let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or("");
        if ["util", "utils", "common", "helpers", "misc"].contains(&stem) {
            wrong.push(format!("{}: a drawer; name it after what it is about", file.display()));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Tests, examples and tables of data are no part of a program.
fn is_program(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("");
    name != "tests.rs"
        && !name.ends_with("_tables.rs")
        && !file.components().any(|c| c.as_os_str() == "examples")
}

/// Processes that stand inside a machine (its init, what enters it) have no edge: they end as the command did.
const INSIDE_OF_A_MACHINE: [&str; 2] =
    ["tools/vm-snapshot/src/drivers/sandbox/init.rs", "tools/vm-snapshot/src/drivers/sandbox/enter.rs"];

#[test]
fn only_the_edge_prints_and_exits() {
    let forbidden =
        Regex::new(r"(?m)^[^/\n]*\b(println!|eprintln!|print!|eprint!|dbg!|process::exit\()").expect("valid");
    let mut wrong = Vec::new();
    for file in rust_sources() {
        if file.starts_with("tools/lib/edge")
            || INSIDE_OF_A_MACHINE.iter().any(|inside| file.ends_with(inside))
        {
            continue;
        }
        let text = fs::read_to_string(tests::root().join(&file)).expect("readable");
        let code = text.split("\n#[cfg(test)]").next().unwrap_or("");
        for found in forbidden.find_iter(code) {
            wrong.push(format!("{}: {}", file.display(), found.as_str().trim()));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_machine_paths_and_no_registry_hosts() {
    // written in pieces, so that this file does not find itself
    let words: Vec<String> = [
        ["/work", "/main"],
        ["/work", "/shared"],
        ["/work", "/.library"],
        ["/root", "/.cargo"],
        ["index.crates", ".io"],
        ["static.crates", ".io"],
        ["pypi", ".org"],
        ["registry.npmjs", ".org"],
        ["deb.debian", ".org"],
        ["snapshot.debian", ".org"],
        ["security.debian", ".org"],
        ["artif", "actory"],
        ["host.docker", ".internal"],
    ]
    .iter()
    .map(|pieces| pieces.concat())
    .collect();
    let mut wrong = Vec::new();
    for file in files() {
        let bytes = fs::read(tests::root().join(&file)).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        for word in &words {
            if text.contains(word.as_str()) {
                wrong.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn formatted() {
    let output = Command::new(env!("CARGO"))
        .args(["fmt", "--all", "--check"])
        .current_dir(tests::root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "run cargo fmt\n{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn changelog_and_links() {
    let root = tests::root();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let version =
        Regex::new(r#"(?m)^version = "([^"]+)""#).expect("valid").captures(&manifest).expect("version")[1]
            .to_owned();
    let changelog = fs::read_to_string(root.join("CHANGELOG.md")).expect("CHANGELOG.md");
    assert!(changelog.contains(&format!("## {version}")), "CHANGELOG.md has no section \"## {version}\"");
    let link = Regex::new(r"\]\(([^)#:]+)(#[^)]*)?\)").expect("valid");
    let mut wrong = Vec::new();
    for page in
        files().iter().filter(|f| f.extension().is_some_and(|e| e == "md") && !f.starts_with("tests/cases"))
    {
        let text = fs::read_to_string(root.join(page)).expect("readable");
        for found in link.captures_iter(&text) {
            let target = root.join(page.parent().unwrap_or(Path::new(""))).join(&found[1]);
            if !target.exists() {
                wrong.push(format!("{}: {}", page.display(), &found[1]));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "links to files that are not there");
}

#[test]
fn shell_scripts_are_clean() {
    if !tests::require("shell_scripts_are_clean", &["shellcheck"]) {
        return;
    }
    let root = tests::root();
    let scripts: Vec<PathBuf> = files()
        .into_iter()
        .filter(|file| file.starts_with("scripts") || file.starts_with(".ci"))
        .filter(|file| {
            let first = fs::read(root.join(file)).unwrap_or_default();
            first.starts_with(b"#!/bin/sh") || first.starts_with(b"#!/usr/bin/env bash")
        })
        .collect();
    let output = Command::new("shellcheck")
        .args(["--severity=warning", "--external-sources"])
        .args(&scripts)
        .current_dir(&root)
        .output()
        .expect("shellcheck runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Long options in a text, without those that clap gives every program.
fn long_options(text: &str, pattern: &str) -> BTreeSet<String> {
    Regex::new(pattern)
        .expect("valid")
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .filter(|name| name != "help" && name != "version")
        .collect()
}

fn help(tool: &str, subcommand: &[&str]) -> String {
    let output = Command::new(tests::program(tool)).args(subcommand).arg("--help").output().expect("it runs");
    assert!(output.status.success(), "{tool} {subcommand:?} --help: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn help_and_manual_page_say_the_same() {
    let mut wrong = Vec::new();
    for tool in TOOLS {
        let own = help(tool, &[]);
        let own_options = r"(?m)^\s+(?:-\w, )?--([a-z0-9][a-z0-9-]*)";
        let mut told = long_options(&own, own_options);
        if let Some((_, commands)) = own.split_once("Commands:\n") {
            for command in commands.lines().take_while(|line| line.starts_with("  ")) {
                let name = command.split_whitespace().next().unwrap_or("");
                let is_name = !command.starts_with("   ") && !name.is_empty() && name != "help";
                if is_name {
                    told.extend(long_options(&help(tool, &[name]), own_options));
                }
            }
        }
        let page_file = tests::root().join(format!("man/{tool}.1"));
        let Ok(page) = fs::read_to_string(&page_file) else {
            wrong.push(format!("man/{tool}.1 is not there"));
            continue;
        };
        let documented: BTreeSet<String> = page
            .lines()
            .filter(|line| line.starts_with(".It Fl"))
            .flat_map(|line| long_options(line, r"Fl -([a-z0-9][a-z0-9-]*)"))
            .collect();
        wrong.extend(
            told.difference(&documented).map(|o| format!("{tool}: --{o} is in --help, not in the page")),
        );
        wrong.extend(
            documented.difference(&told).map(|o| format!("{tool}: --{o} is in the page, not in --help")),
        );
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_document_kind_has_a_page() {
    let root = tests::root();
    let kinds = Regex::new(r#"const KIND: &'static str = "([a-z-]+)""#).expect("valid");
    let mut wrong = Vec::new();
    for file in rust_sources().iter().filter(|file| file.starts_with("tools/lib/contract")) {
        let text = fs::read_to_string(root.join(file)).expect("readable");
        for found in kinds.captures_iter(&text) {
            let pages = fs::read_dir(root.join("man")).expect("man/").filter_map(Result::ok);
            let name = &found[1];
            let told = pages.filter(|p| p.path().extension().is_some_and(|e| e == "5")).any(|p| {
                fs::read_to_string(p.path()).is_ok_and(|t| t.contains(name) && t.contains(".Sh NAME"))
            });
            if !told {
                wrong.push(format!("kind \"{name}\" ({}) is in no page of section 5", file.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn manual_pages_are_well_formed() {
    if !tests::require("manual_pages_are_well_formed", &["mandoc"]) {
        return;
    }
    let pages: Vec<PathBuf> = files().into_iter().filter(|file| file.starts_with("man")).collect();
    let output = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(&pages)
        .current_dir(tests::root())
        .output()
        .expect("mandoc runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.is_empty(), "{text}");
}
