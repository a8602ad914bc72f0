//! Git repositories: one fetch for everything that is wanted of one, as shallow as the server lets us, and contents
//! read from the objects themselves, so that no filter, hook or line-ending setting of this machine has a say.

use super::git_program::{self, Said, Watch, ask, feed, last_line};

use super::git_tree::Commit;
use crate::trouble::Trouble;
use contract::archived::Cause;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is wanted of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Commit that the catalog names (40 hexadecimal digits, lower case).
    pub commit: Option<String>,
    /// Branch, tag or commit of the source; the head when `None`.
    pub reference: Option<String>,
}

/// A bare repository that holds what was fetched. Its directory goes away with it.
#[derive(Debug)]
pub struct Repository {
    url: String,
    dir: PathBuf,
    watch: Watch,
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// How deep a branch is followed to find a commit that the server does not hand out by itself.
const DEPTHS: [&str; 2] = ["8", "64"];

/// Object ids behind the wants, known before anything is fetched.
#[derive(Debug, Default)]
pub struct Heads {
    /// Full name of a reference to the object it stands for.
    refs: BTreeMap<String, String>,
}

impl Heads {
    /// Asks the server for the references that the wants without a commit name. One request.
    pub fn ask(
        url: &str,
        wants: &BTreeSet<Want>,
        watch: &Watch,
        progress: &dyn Fn(u64),
    ) -> Result<Heads, Trouble> {
        let open: Vec<&Want> = wants.iter().filter(|want| want.commit.is_none()).collect();
        let mut command = git_program::command();
        command.args(["ls-remote", "-q", "--", url]);
        // a fragment that looks like an id may stand for any reference that has it
        if open.iter().all(|want| !want.reference.as_deref().is_some_and(looks_like_id)) {
            for want in &open {
                match want.reference.as_deref() {
                    None => drop(command.arg("HEAD")),
                    Some(name) => {
                        command.args([
                            format!("refs/heads/{name}"),
                            format!("refs/tags/{name}"),
                            name.to_owned(),
                        ]);
                    }
                }
            }
        }
        let said = git_program::run(command, watch, progress)?;
        if !said.ok {
            return Err(refusal(url, &said));
        }
        let refs = String::from_utf8_lossy(&said.stdout)
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(id, name)| (name.to_owned(), id.to_owned()))
            .collect();
        Ok(Heads { refs })
    }

    /// The id that Racket records as the checksum: what the reference stands for (an annotated tag's own id), a full
    /// id that a shorter one begins, an id that is not known as it is.
    pub fn resolve(&self, url: &str, want: &Want) -> Result<String, Trouble> {
        if let Some(commit) = &want.commit {
            return Ok(commit.clone());
        }
        let not_there =
            |what: &str| Trouble::gone(format!("could not find requested reference in {url}: {what}"));
        let Some(name) = &want.reference else {
            return self.refs.get("HEAD").cloned().ok_or_else(|| not_there("HEAD"));
        };
        for full in [format!("refs/heads/{name}"), format!("refs/tags/{name}"), name.clone()] {
            if let Some(id) = self.refs.get(&full) {
                return Ok(id.clone());
            }
        }
        if looks_like_id(name) {
            if let Some(id) = self.refs.values().find(|id| id.starts_with(name.as_str())) {
                return Ok(id.clone());
            }
            if name.len() == 40 {
                return Ok(name.clone());
            }
        }
        Err(not_there(name))
    }
}

fn looks_like_id(name: &str) -> bool {
    (7..=40).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Repository {
    /// Fetches the wanted ids, all in one request where the server allows it. What could not be had is told for each.
    pub fn fetch(
        url: &str,
        dir: PathBuf,
        wants: &BTreeMap<String, BTreeSet<Want>>,
        watch: &Watch,
        progress: &dyn Fn(u64),
    ) -> Result<(Repository, BTreeMap<String, Trouble>), Trouble> {
        let repository = Repository { url: url.to_owned(), dir, watch: *watch };
        let mut init = git_program::command();
        init.args(["init", "-q", "--bare", "--template=", "--"]).arg(&repository.dir);
        ask(init)?;
        let ids: Vec<&str> = wants.keys().map(String::as_str).collect();
        let mut failed = BTreeMap::new();
        let all = repository.run_fetch(&["--depth", "1"], &ids, progress)?;
        if all.ok && ids.iter().all(|id| repository.has(id)) {
            return Ok((repository, failed));
        }
        if !all.ok && is_unreachable(&all.stderr) {
            return Err(refusal(url, &all));
        }
        // one bad id spoils the whole request: each by itself, then the ways of servers that hand out no ids
        for (id, wants) in wants {
            if repository.has(id)
                || ids.len() > 1 && repository.run_fetch(&["--depth", "1"], &[id], progress)?.ok
            {
                continue;
            }
            if let Err(trouble) = repository.search(id, wants, progress) {
                if trouble.cause == Cause::Unreachable {
                    return Err(trouble);
                }
                failed.insert(id.clone(), trouble);
            }
        }
        Ok((repository, failed))
    }

    /// Follows the branches that the wants name, deeper and deeper, then takes everything.
    fn search(&self, id: &str, wants: &BTreeSet<Want>, progress: &dyn Fn(u64)) -> Result<(), Trouble> {
        let references: BTreeSet<&str> = wants
            .iter()
            .map(|want| want.reference.as_deref().unwrap_or("HEAD"))
            .filter(|name| !name.starts_with('-') && !name.contains(':'))
            .collect();
        for depth in DEPTHS {
            for reference in &references {
                self.run_fetch(&["--depth", depth], &[reference], progress)?;
                if self.has(id) {
                    return Ok(());
                }
            }
        }
        // an earlier shallow fetch must not hide the past
        let unshallow: &[&str] = if self.dir.join("shallow").exists() { &["--unshallow"] } else { &[] };
        let said =
            self.run_fetch(unshallow, &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"], progress)?;
        if self.has(id) {
            return Ok(());
        }
        match said.ok {
            true => Err(Trouble::gone(format!("no such commit in {}: {id}", self.url))),
            false => Err(refusal(&self.url, &said)),
        }
    }

    fn run_fetch(&self, options: &[&str], what: &[&str], progress: &dyn Fn(u64)) -> Result<Said, Trouble> {
        let mut command = self.git();
        command.args(["fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--force"]);
        command.args(options).arg("--").arg(&self.url).args(what);
        git_program::run(command, &self.watch, progress)
    }

    fn git(&self) -> std::process::Command {
        let mut command = git_program::command();
        command.arg("--git-dir").arg(&self.dir);
        command
    }

    fn has(&self, id: &str) -> bool {
        let mut command = self.git();
        command.args(["cat-file", "-e", &format!("{id}^{{tree}}")]).stderr(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Everything in the tree of a commit (or of the tag that names one), without contents.
    pub fn list(&self, id: &str) -> Result<Commit, Trouble> {
        let mut command = self.git();
        command.args(["ls-tree", "-r", "-z", "-l", "--full-tree", id]);
        let (mut commit, links) = Commit::parse(&ask(command)?)?;
        let targets = self.blobs(&links.values().cloned().collect())?;
        commit.set_links(&links, &targets)?;
        Ok(commit)
    }

    /// Contents by object id.
    pub fn blobs(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Arc<Vec<u8>>>, Trouble> {
        let mut blobs = BTreeMap::new();
        if ids.is_empty() {
            return Ok(blobs);
        }
        let mut command = self.git();
        command.args(["cat-file", "--batch", "--buffer"]);
        let questions = ids.iter().flat_map(|id| [id.as_bytes(), b"\n"].concat()).collect();
        let (mut child, stdout) = feed(command, questions)?;
        let mut answers = BufReader::with_capacity(1 << 16, stdout);
        let broken = || Trouble::bad_archive("the repository is damaged: an object is missing");
        let mut read = || -> Result<(), Trouble> {
            for _ in ids {
                let mut header = String::new();
                answers.read_line(&mut header).map_err(|_| broken())?;
                let [id, "blob", bytes] = header.split_whitespace().collect::<Vec<_>>()[..] else {
                    return Err(broken());
                };
                let bytes: usize = bytes.parse().map_err(|_| broken())?;
                let mut data = vec![0; bytes + 1];
                answers.read_exact(&mut data).map_err(|_| broken())?;
                data.pop();
                blobs.insert(id.to_owned(), Arc::new(data));
            }
            Ok(())
        };
        let result = read();
        drop(answers);
        let _ = child.wait();
        result.map(|()| blobs)
    }
}

/// A new directory for a repository, named after nothing that a stranger chose.
pub fn directory(work: &Path, number: usize) -> PathBuf {
    work.join(format!("repository-{number}.git"))
}

fn is_unreachable(stderr: &str) -> bool {
    let said = stderr.to_ascii_lowercase();
    [
        "could not resolve host",
        "failed to connect",
        "unable to connect",
        "couldn't connect",
        "connection refused",
        "connection timed out",
        "connection reset",
        "network is unreachable",
        "no route to host",
        "operation timed out",
        "unable to look up",
        "empty reply from server",
        "temporary failure",
        "ssl",
    ]
    .iter()
    .any(|phrase| said.contains(phrase))
}

/// What a failed conversation with a server means.
fn refusal(url: &str, said: &Said) -> Trouble {
    let lower = said.stderr.to_ascii_lowercase();
    // forges answer so for what does not exist
    if lower.contains("could not read username") || lower.contains("authentication failed") {
        return Trouble::gone(format!("cannot fetch {url}: there is no such repository, or it is private"));
    }
    let cause = if is_unreachable(&said.stderr) {
        Cause::Unreachable
    } else if [
        "not found",
        "does not exist",
        "does not appear to be a git repository",
        "couldn't find remote ref",
        "not our ref",
        "access denied or repository not exported",
    ]
    .iter()
    .any(|phrase| lower.contains(phrase))
    {
        Cause::Gone
    } else {
        Cause::Refused
    };
    Trouble::new(cause, format!("cannot fetch {url}: {}", last_line(&said.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads() -> Heads {
        let a = "a".repeat(40);
        let b = format!("b1b2b3b{}", "0".repeat(33));
        let refs = [("HEAD", &a), ("refs/heads/main", &a), ("refs/tags/v1", &b)];
        Heads { refs: refs.iter().map(|(name, id)| ((*name).to_owned(), (*id).clone())).collect() }
    }
    fn resolve(reference: Option<&str>) -> Result<String, String> {
        let want = Want { commit: None, reference: reference.map(str::to_owned) };
        heads().resolve("URL", &want).map_err(|trouble| trouble.message)
    }

    #[test]
    fn references_resolve_as_racket_resolves_them() {
        assert_eq!(resolve(None).unwrap(), "a".repeat(40));
        assert_eq!(resolve(Some("main")).unwrap(), "a".repeat(40));
        assert!(resolve(Some("v1")).unwrap().starts_with("b1b2b3b"));
        assert!(resolve(Some("b1b2b3b")).unwrap().starts_with("b1b2b3b0"));
        assert_eq!(resolve(Some(&"c".repeat(40))).unwrap(), "c".repeat(40));
        assert!(resolve(Some("gone")).unwrap_err().contains("could not find requested reference"));
        assert!(resolve(Some("ccccccc")).is_err());
    }
}
