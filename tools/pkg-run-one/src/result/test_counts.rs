//! Counts tests in the output of a test run, line by line, by the rules of a recipe: nothing is lost when the log is
//! cut, and nothing is believed that was not printed.

use contract::recipe::{Counts, Recipe, TestRule};
use contract::run::{TestFailure, Tests};
use regex::{Captures, Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Longest line that rules are tried on.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Failures that are named.
const MAX_FAILURES: usize = 2000;
/// Longest message of a failure, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

#[derive(Debug)]
struct Compiled {
    pattern: Regex,
    counts: Counts,
    within: Option<Box<Compiled>>,
}

#[derive(Clone, Debug, Default)]
pub struct TestCounter {
    rules: Arc<Vec<Compiled>>,
    line: Vec<u8>,
    files: BTreeSet<String>,
    files_failed: BTreeSet<String>,
    passed: u64,
    failed: u64,
    cases: BTreeSet<TestFailure>,
    file_messages: Vec<(String, String)>,
}

impl TestCounter {
    /// Compiles the rules; the error names the pattern.
    pub fn new(recipe: &Recipe) -> Result<TestCounter, regex::Error> {
        let rules = recipe.tests.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(TestCounter { rules: Arc::new(rules), ..TestCounter::default() })
    }

    pub fn push(&mut self, text: &[u8]) {
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() < MAX_LINE_BYTES {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches(['\n', '\r']);
        let rules = Arc::clone(&self.rules);
        for rule in rules.iter() {
            if let Some(groups) = rule.pattern.captures(line) {
                self.count(rule, &groups, None);
            }
        }
    }

    fn count(&mut self, rule: &Compiled, groups: &Captures, in_file: Option<&str>) {
        let group = |name: &str| groups.name(name).map(|found| found.as_str().trim());
        let number = |name: &str| group(name).and_then(|text| text.parse::<u64>().ok());
        let file = group("file").or(in_file).unwrap_or("").to_owned();
        match rule.counts {
            Counts::File => {
                self.files.insert(file);
            }
            Counts::Pass => self.passed += 1,
            Counts::Failure => {
                self.failed += 1;
                let message = group("message").map(squeeze).filter(|text| !text.is_empty());
                // a case without a name is told by what it checks, and where
                let place = [group("check"), group("location")]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(" at ");
                let name = group("name").unwrap_or(&place).to_owned();
                if self.cases.len() < MAX_FAILURES {
                    self.cases.insert(TestFailure {
                        file,
                        name: Some(name).filter(|name| !name.is_empty()),
                        message,
                    });
                }
            }
            Counts::FileMessage => {
                if self.file_messages.len() < MAX_FAILURES {
                    self.file_messages.push((file, squeeze(group("message").unwrap_or(""))));
                }
            }
            Counts::Totals => {
                let (failed, total) = (number("failed").unwrap_or(0), number("total"));
                self.passed += number("passed").or(total.map(|all| all.saturating_sub(failed))).unwrap_or(0);
                if failed > 0 && !file.is_empty() {
                    self.files_failed.insert(file);
                } else {
                    self.failed += failed;
                }
            }
            Counts::Text => {
                let text = unescape(group("text").unwrap_or(""));
                if let Some(within) = &rule.within {
                    for found in within.pattern.captures_iter(&text) {
                        self.count(within, &found, Some(&file));
                    }
                }
            }
        }
    }

    /// The counts. `exit_code` is that of the test run, when it ended; `dirs` are the directories of the packages, which
    /// file names are made relative to.
    pub fn tests(&self, exit_code: Option<i32>, dirs: &[String]) -> Tests {
        let mut this = self.clone();
        this.end_line();
        let files_failed: BTreeSet<String> =
            this.files_failed.iter().map(|file| relative(file, dirs)).collect();
        let mut failures: BTreeSet<TestFailure> = BTreeSet::new();
        for case in &this.cases {
            let file = full_name(&case.file, &files_failed, dirs);
            failures.insert(TestFailure { file, ..case.clone() });
        }
        let mut failed = this.failed;
        let mut named: BTreeSet<String> = failures.iter().map(|failure| failure.file.clone()).collect();
        let messages = this
            .file_messages
            .iter()
            .map(|(file, text)| (full_name(file, &files_failed, dirs), Some(text.clone())));
        for (file, message) in messages.chain(files_failed.iter().map(|file| (file.clone(), None))) {
            if named.insert(file.clone()) {
                failed += 1;
                failures.insert(TestFailure { file, name: None, message });
            }
        }
        let status = match exit_code {
            None => "not-run",
            // a test run that says all is well is believed as to what it counted as failed
            Some(0) => {
                failures.clear();
                failed = 0;
                if this.passed > 0 || !this.files.is_empty() { "passed" } else { "no-tests" }
            }
            Some(_) => "failed",
        };
        Tests {
            status: status.to_owned(),
            files: this.files.len() as u64,
            files_failed: failures.iter().map(|failure| &failure.file).collect::<BTreeSet<_>>().len() as u64,
            passed: this.passed,
            failed,
            failures: failures.into_iter().collect(),
        }
    }
}

fn compile(rule: &TestRule) -> Result<Compiled, regex::Error> {
    Ok(Compiled {
        pattern: RegexBuilder::new(&rule.pattern).build()?,
        counts: rule.counts,
        within: rule.within.as_deref().map(compile).transpose()?.map(Box::new),
    })
}

/// Relative to the package, or with the package's directory in front when there are several packages.
fn relative(file: &str, dirs: &[String]) -> String {
    let below = |dir: &String| file.strip_prefix(dir.as_str())?.strip_prefix('/');
    match dirs {
        [dir] => below(dir).unwrap_or(file).to_owned(),
        _ => dirs
            .iter()
            .find_map(|dir| Some(format!("{}/{}", dir.rsplit('/').next()?, below(dir)?)))
            .unwrap_or_else(|| file.to_owned()),
    }
}

/// Messages name a file by its last part: the failing file it belongs to, when there is just one such.
fn full_name(file: &str, files_failed: &BTreeSet<String>, dirs: &[String]) -> String {
    let file = relative(file, dirs);
    let mut fitting =
        files_failed.iter().filter(|full| **full == file || full.ends_with(&format!("/{file}")));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => only.clone(),
        _ => file,
    }
}

fn squeeze(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((at, _)) => format!("{}…", &words[..at]),
        None => words,
    }
}

/// Resolves the escapes of a printed string or byte string as far as text needs it.
fn unescape(text: &str) -> String {
    let mut plain: Vec<u8> = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => plain.push(b'\n'),
            Some(b't') => plain.push(b'\t'),
            Some(digit @ b'0'..=b'7') => {
                let mut code = u32::from(digit - b'0');
                for _ in 0..2 {
                    if let Some(next @ b'0'..=b'7') = bytes.peek().copied() {
                        code = code * 8 + u32::from(next - b'0');
                        bytes.next();
                    }
                }
                plain.push(code as u8);
            }
            Some(other) => plain.push(other),
            None => plain.push(b'\\'),
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
