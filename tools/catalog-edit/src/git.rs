//! What commit a branch or tag is at: asks git, without a clone.

use catalog::{Target, near_names};
use edge::{Failure, Result};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Asking a server for its branches takes a second; one that says nothing for this long will not answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The commit that the target's branch or tag is at (the head when it names none). A reference that is a commit
/// is its own answer. An annotated tag gives the id of the tag, as with Racket's own client.
pub fn look_up(target: &Target) -> Result<String> {
    let url = target.git_url();
    let Some(reference) = target.reference.as_deref() else {
        let refs = ls_remote(&url, &["HEAD"])?;
        return find(&refs, "HEAD").ok_or_else(|| {
            Failure::unavailable(format!("cannot find a commit in \"{url}\": it has no head"))
        });
    };
    let names = [format!("refs/heads/{reference}"), format!("refs/tags/{reference}"), reference.to_owned()];
    if !names.iter().all(|name| is_plain(name)) {
        return Err(Failure::usage(format!("{reference:?} is no branch, tag or commit")));
    }
    let refs = ls_remote(&url, &names.each_ref().map(String::as_str))?;
    if let Some(commit) = names.iter().find_map(|name| find(&refs, name)) {
        return Ok(commit);
    }
    let is_commit = reference.len() == 40 && reference.bytes().all(|b| b.is_ascii_hexdigit());
    if is_commit {
        return Ok(reference.to_ascii_lowercase());
    }
    let mut failure =
        Failure::unavailable(format!("cannot find branch, tag or commit \"{reference}\" in \"{url}\""));
    if let Ok(all) = ls_remote(&url, &["refs/heads/*", "refs/tags/*"]) {
        let all: Vec<&str> = all
            .iter()
            .filter_map(|(_, name)| name.strip_prefix("refs/heads/").or(name.strip_prefix("refs/tags/")))
            .filter(|name| !name.ends_with("^{}"))
            .collect();
        let near = near_names(reference, all.iter().copied());
        let shown = if near.is_empty() { all.iter().copied().take(5).collect() } else { near };
        if !shown.is_empty() {
            failure = failure.hint(format!("there is {}", shown.join(", ")));
        }
    }
    Err(failure)
}

/// No pattern, no option, nothing that a shell or git would take for something else.
fn is_plain(reference: &str) -> bool {
    !reference.starts_with('-') && !reference.contains(|c: char| c.is_control() || " ~^:?*[\\".contains(c))
}

fn find(refs: &[(String, String)], name: &str) -> Option<String> {
    refs.iter().find(|(_, found)| found == name).map(|(commit, _)| commit.clone())
}

/// `(commit, name)` of the references that fit the patterns.
fn ls_remote(url: &str, patterns: &[&str]) -> Result<Vec<(String, String)>> {
    edge::say::detail(format!("asking \"{url}\" for {}", patterns.join(", ")));
    let mut child = Command::new("git")
        .args(["ls-remote", "--", url])
        .args(patterns)
        // never a question on the terminal
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ASKPASS", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::unavailable(format!("cannot run git: {error}"))
                .hint("install git, or give the commit: --to … --commit SHA")
        })?;
    let pid = rustix::process::Pid::from_child(&child);
    // a signal that ends this program must not leave git waiting
    let mut stop = Some(edge::on_exit(move || {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }));
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let spinner = edge::progress::items(&format!("asking {url}"), None);
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < TIMEOUT => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            Ok(None) => {
                // politely first: git takes its own helper with it
                drop(stop.take());
                std::thread::sleep(Duration::from_millis(200));
                let _ = child.kill();
                let _ = child.wait();
                spinner.finish_and_clear();
                return Err(cannot_ask(url, &format!("no answer in {} s", TIMEOUT.as_secs())));
            }
            Err(error) => return Err(cannot_ask(url, &error.to_string())),
        }
    };
    if let Some(stop) = stop {
        stop.forget();
    }
    spinner.finish_and_clear();
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    if !status.success() {
        let said: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let telling = said.iter().find(|line| line.starts_with("fatal:") || line.starts_with("remote:"));
        let reason = telling.or(said.last()).copied().unwrap_or("git failed");
        return Err(cannot_ask(url, reason.trim_start_matches("fatal: ").trim_start_matches("remote: ")));
    }
    Ok(stdout
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(commit, name)| (commit.to_owned(), name.to_owned()))
        .collect())
}

fn cannot_ask(url: &str, reason: &str) -> Failure {
    Failure::unavailable(format!("cannot look up a commit in \"{url}\": {reason}"))
        .hint("give the commit to do without asking: --to … --commit SHA")
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(pipe) = pipe {
            // a server's list of references; 64 MiB are half a million
            let _ = pipe.take(64 << 20).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}
