use regex::Regex;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use walkdir::WalkDir;

/// Runs every case of a tool and panics with all differences and the command that accepts them.
pub fn run_cases(tool: &str) {
    let dir = crate::root().join("tests/cases").join(tool);
    let only = std::env::var("CASE").ok();
    let mut names: Vec<String> = fs::read_dir(&dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .filter_map(|entry| entry.ok().and_then(|entry| entry.file_name().into_string().ok()))
        .filter(|name| dir.join(name).join("cmd").exists())
        .filter(|name| only.as_ref().is_none_or(|only| only == name))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no case in {}", dir.display());
    let mut failures = String::new();
    for name in &names {
        if let Err(difference) = run_case(&dir.join(name)) {
            let _ = write!(
                failures,
                "\n== case {tool}/{name}\n{difference}accept with: UPDATE_CASES=1 CASE={name} cargo test --release -p tests --test {} cases\n",
                tool.replace('-', "_")
            );
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn run_case(case: &Path) -> Result<(), String> {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    // canonical, because programs print canonical paths
    let work = scratch.path().canonicalize().expect("it exists").join("work");
    fs::create_dir(&work).expect("a work directory");
    copy_tree(&case.join("in"), &work);
    let stdin = match fs::File::open(case.join("stdin")) {
        Ok(file) => file.into(),
        Err(_) => std::process::Stdio::null(),
    };
    let home = scratch.path().join("home");
    fs::create_dir(&home).expect("a home");
    let output = crate::command("sh", &work)
        .arg(case.join("cmd"))
        .env("HOME", &home)
        .env("XDG_CACHE_HOME", home.join(".cache"))
        .env("CASE_DIR", case)
        .stdin(stdin)
        .output()
        .expect("sh runs");
    let seen_status = output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string());
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let mut difference = String::new();
    for (name, seen, absent) in [
        ("stdout", normalise(&output.stdout, &work), ""),
        ("stderr", normalise(&output.stderr, &work), ""),
        ("status", format!("{seen_status}\n"), "0\n"),
    ] {
        compare(&case.join(name), name, &seen, absent, update, &mut difference);
    }
    for entry in WalkDir::new(case.join("out")).sort_by_file_name().into_iter().filter_map(Result::ok) {
        if entry.file_type().is_file() {
            let relative = entry.path().strip_prefix(case.join("out")).expect("below out/");
            let seen = fs::read(work.join(relative))
                .map_or_else(|e| format!("<{e}>"), |bytes| normalise(&bytes, &work));
            compare(entry.path(), &format!("out/{}", relative.display()), &seen, "", update, &mut difference);
        }
    }
    if difference.is_empty() { Ok(()) } else { Err(difference) }
}

fn compare(file: &Path, name: &str, seen: &str, absent: &str, update: bool, difference: &mut String) {
    let expected = fs::read_to_string(file).unwrap_or_else(|_| absent.to_owned());
    if expected == seen {
        return;
    }
    if update {
        if seen == absent {
            let _ = fs::remove_file(file);
        } else {
            fs::write(file, seen).expect("the case can be updated");
        }
        return;
    }
    let _ = write!(difference, "-- {name} expected:\n{expected}-- {name} seen:\n{seen}");
}

/// Takes out what differs from run to run: the work directory, ports of loopback, durations, instants.
fn normalise(bytes: &[u8], work: &Path) -> String {
    let text = String::from_utf8_lossy(bytes).replace(&work.display().to_string(), "[WORK]");
    let rules = [
        (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:[PORT]"),
        (r#"("[a-z_]+_s": ?)[0-9.e-]+"#, "$1\"[S]\""),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "[INSTANT]"),
    ];
    rules.iter().fold(text, |text, (pattern, with)| {
        Regex::new(pattern).expect("a valid pattern").replace_all(&text, *with).into_owned()
    })
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in WalkDir::new(from).into_iter().filter_map(Result::ok) {
        let target = to.join(entry.path().strip_prefix(from).expect("below from"));
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).expect("a directory");
        } else if entry.file_type().is_symlink() {
            let link = fs::read_link(entry.path()).expect("a link");
            std::os::unix::fs::symlink(link, &target).expect("a link");
        } else {
            fs::copy(entry.path(), &target).expect("a file");
        }
    }
}
