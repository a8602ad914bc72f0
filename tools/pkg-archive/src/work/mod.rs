//! Carries the plan out: packages side by side, repositories one fetch each, hosts with manners.

use crate::archive::state::{Kept, Stamp, State};
use crate::archive::store::{Store, Zip};
pub mod info_machine;
mod queue;
mod repositories;

use crate::args::{Config, Mode};
use crate::content::facts::{self, LeftOut};
use crate::content::pack::{unzip, zip};
use crate::content::tree::Tree;
use crate::plan::{self, Step, Task};
use crate::sources::file::Content;
use crate::sources::{directory, file, git_program, web};
use crate::trouble::Trouble;
use catalog::Kind;
use contract::archived::Cause;
use fetch::Client;
use info_machine::InfoMachine;
use queue::Queue;
use repositories::Fetched;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What became of a package.
#[derive(Debug)]
pub struct Done {
    pub kept: Kept,
    /// Its zip or checksum file was written.
    pub touched: bool,
}

pub type Outcome = Result<Done, Trouble>;

/// Everything the workers share.
pub struct Workshop<'a> {
    pub config: &'a Config,
    pub client: &'a Client,
    pub store: &'a Store,
    pub state: &'a State,
    /// Where Racket evaluates what is not read here.
    machine: Option<&'a InfoMachine>,
    /// Called for every package that is done, and with every number of bytes that came.
    pub on_package: &'a (dyn Fn() + Sync),
    pub on_bytes: &'a (dyn Fn(u64) + Sync),
    pub fetched_bytes: AtomicU64,
    repositories: AtomicUsize,
    /// Git hosts that did not answer: how often in a row, and the last trouble.
    silent: Mutex<HashMap<String, (u32, Trouble)>>,
    broken: Mutex<Option<edge::Failure>>,
}

/// After so many failures in a row to get any answer, a git host is not asked again in this run.
const GIVE_UP_AFTER: u32 = 3;

enum Unit {
    Package(usize),
    Repository { url: String, tasks: Vec<usize> },
    Pack(usize, Box<Content>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Workshop<'a> {
    pub fn new(
        config: &'a Config,
        client: &'a Client,
        store: &'a Store,
        state: &'a State,
        machine: Option<&'a InfoMachine>,
        on_package: &'a (dyn Fn() + Sync),
        on_bytes: &'a (dyn Fn(u64) + Sync),
    ) -> Workshop<'a> {
        Workshop {
            config,
            client,
            store,
            state,
            machine,
            on_package,
            on_bytes,
            fetched_bytes: AtomicU64::new(0),
            repositories: AtomicUsize::new(0),
            silent: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// Works on all tasks, `first` before the others. Tasks that were not reached (`--fail-fast`) have no outcome.
    pub fn run(&self, tasks: &[Task], first: &BTreeSet<String>) -> edge::Result<Vec<Option<Outcome>>> {
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        order.sort_by_key(|index| !first.contains(&tasks[*index].name));
        let (mut in_git, mut others) = (Vec::new(), Vec::new());
        for &index in &order {
            let is_git = tasks[index].want().is_some() && self.step(&tasks[index]).0 != Step::Unchanged;
            if is_git { in_git.push(index) } else { others.push(index) }
        }
        if !in_git.is_empty() {
            git_program::require()?;
        }
        // repositories take longest to come
        let repositories = plan::repositories(tasks, &in_git).into_iter().map(|(url, tasks)| {
            let host = host_of_url(&url);
            (Unit::Repository { url, tasks }, Some(host))
        });
        let packages = others.into_iter().map(|index| (Unit::Package(index), None));
        let queue = Queue::new(repositories.chain(packages), self.config.per_host);
        let outcomes: Vec<Mutex<Option<Outcome>>> = tasks.iter().map(|_| Mutex::new(None)).collect();
        std::thread::scope(|scope| {
            for _ in 0..self.config.jobs.min(tasks.len().max(1)) {
                scope.spawn(|| self.worker(tasks, &queue, &outcomes));
            }
        });
        match lock(&self.broken).take() {
            Some(failure) => Err(failure),
            None => Ok(outcomes
                .into_iter()
                .map(|outcome| outcome.into_inner().unwrap_or_else(PoisonError::into_inner))
                .collect()),
        }
    }

    fn worker(&self, tasks: &[Task], queue: &Queue<Unit>, outcomes: &[Mutex<Option<Outcome>>]) {
        let finish = |index: usize, outcome: Outcome| {
            if let Err(trouble) = &outcome {
                edge::say::detail(format!("{}: {}", tasks[index].name, trouble.message));
                if self.config.fail_fast {
                    queue.close();
                }
            }
            (self.on_package)();
            *lock(&outcomes[index]) = Some(outcome);
        };
        while let Some((unit, permit)) = queue.take() {
            match unit {
                Unit::Package(index) => finish(index, self.package(&tasks[index])),
                Unit::Pack(index, content) => finish(index, self.pack(&tasks[index], *content, None)),
                Unit::Repository { url, tasks: indices } => {
                    let mut contents = Vec::new();
                    for (index, result) in self.repository(&url, tasks, &indices) {
                        match result {
                            Ok(Fetched::Content(content)) => contents.push(Unit::Pack(index, content)),
                            Ok(Fetched::Done(done)) => finish(index, Ok(*done)),
                            Err(trouble) => finish(index, Err(trouble)),
                        }
                    }
                    queue.put_first(contents);
                }
            }
            if lock(&self.broken).is_some() {
                queue.close();
            }
            drop(permit);
        }
    }

    /// What is to be done for a task, and how its zip on disk is.
    pub fn step(&self, task: &Task) -> (Step, Zip) {
        let kept = self.state.kept.get(&task.name);
        let zip = kept.map_or(Zip::Lost, |kept| self.store.check(&task.name, &kept.zip));
        (plan::step(task, kept, &zip, self.config.mode), zip)
    }

    /// Everything that is not in git.
    fn package(&self, task: &Task) -> Outcome {
        let source = task.source.clone()?;
        let (step, zip) = self.step(task);
        let kept = self.state.kept.get(&task.name);
        if let (Step::Unchanged, Some(kept)) = (step, kept) {
            return self.keep(task, kept, zip);
        }
        let limits = &self.config.limits;
        match &source.kind {
            Kind::Name(name) => {
                Err(Trouble::bad_source(format!("the source of a package cannot be a package name: {name}")))
            }
            Kind::Dir { path, .. } => {
                let scan = directory::scan(Path::new(path), self.config.mode, limits, SystemTime::now())?;
                if let (Step::Look, Some(kept)) = (step, kept)
                    && kept.fingerprint.as_ref() == Some(&scan.fingerprint)
                {
                    return self.keep(task, kept, zip);
                }
                let content = Content {
                    tree: scan.load()?,
                    zip: None,
                    resolved: String::new(),
                    left_out: LeftOut {
                        submodules: scan.submodules,
                        dangling: scan.dangling,
                        unverified: false,
                    },
                };
                self.pack(task, content, scan.settled.then_some(scan.fingerprint))
            }
            Kind::File { path } => {
                let content = file::read(Path::new(path), &task.checksum, limits)?;
                if let (Step::Look, Some(kept)) = (step, kept)
                    && kept.resolved == content.resolved
                    && kept.source == task.source_text
                {
                    return self.keep(task, kept, zip);
                }
                self.pack(task, content, None)
            }
            Kind::FileUrl { url } => {
                if let (Step::Ask, Some(kept)) = (step, kept)
                    && web::server_checksum(self.client, url)?.as_ref() == Some(&kept.resolved)
                {
                    return self.keep(task, kept, zip);
                }
                let content = web::archive(self.client, url, &task.checksum, limits, &self.receive())?;
                self.pack(task, content, None)
            }
            Kind::DirUrl { url } => {
                let content = web::directory(self.client, url, limits, &self.receive())?;
                self.pack(task, content, None)
            }
            Kind::Git { .. } | Kind::GitHub { .. } => match kept {
                Some(kept) => self.keep(task, kept, zip),
                None => Err(Trouble::bad_source("a git source that was not planned as one")),
            },
        }
    }

    /// Counts bytes of one transfer as they come.
    fn receive(&self) -> impl Fn(u64) + Sync + '_ {
        let seen = AtomicU64::new(0);
        move |received| {
            let before = seen.swap(received, Ordering::Relaxed);
            let new = received.saturating_sub(before);
            self.fetched_bytes.fetch_add(new, Ordering::Relaxed);
            (self.on_bytes)(new);
        }
    }

    /// The zip stays. Its checksum file is restored if need be, and facts follow the catalog entry.
    fn keep(&self, task: &Task, kept: &Kept, zip: Zip) -> Outcome {
        let (stamp, touched) = match zip {
            Zip::Intact(stamp) => (stamp, false),
            Zip::ChecksumLost(stamp) => {
                let touched = self.store.put_checksum(&task.name, &stamp.sha1);
                let touched = touched.map_err(|failure| self.give_up(failure))?;
                (stamp, touched)
            }
            Zip::Lost => return Err(Trouble::gone("the archived zip is gone")),
        };
        let mut kept = Kept { zip: stamp, ..kept.clone() };
        let unanswered = || kept.facts.findings.iter().any(|finding| finding.code == facts::NOT_EVALUATED);
        if kept.entry_key != task.entry_key || (self.machine.is_some() && unanswered()) {
            let bytes = std::fs::read(self.store.zip(&task.name)).unwrap_or_default();
            let unzipped = unzip::read(&bytes, &self.config.limits)?;
            let before: BTreeSet<String> = kept.facts.findings.iter().map(|f| f.code.clone()).collect();
            let left_out = LeftOut { unverified: before.contains("unverified"), ..LeftOut::default() };
            let told = |code: &str| matches!(code, "submodule" | "dangling-link");
            let remain: Vec<_> = kept.facts.findings.iter().filter(|f| told(&f.code)).cloned().collect();
            kept.facts = self.examine(task, &unzipped.tree.without_wrapper(), &left_out)?;
            kept.facts.findings.extend(remain);
            kept.facts.findings.sort();
            kept.entry_key.clone_from(&task.entry_key);
        }
        Ok(Done { kept, touched })
    }

    fn examine(&self, task: &Task, tree: &Tree, left_out: &LeftOut) -> Result<facts::Facts, Trouble> {
        let ask = self.machine.map(|machine| |info: &[u8]| machine.ask(info));
        facts::examine(&task.name, tree, &task.entry, left_out, ask.as_ref().map(|ask| ask as _))
    }

    /// Makes the zip and puts it in place.
    fn pack(&self, task: &Task, content: Content, fingerprint: Option<String>) -> Outcome {
        let facts = self.examine(task, &content.tree, &content.left_out)?;
        let bytes = match content.zip {
            Some(zip) => zip,
            None => zip::write(&task.name, &content.tree)
                .ok_or_else(|| Trouble::too_large("more than a zip file can hold (4 GiB)"))?,
        };
        let (stamp, touched) = self.store.put(&task.name, &bytes).map_err(|failure| self.give_up(failure))?;
        let kept = self.kept(task, content.resolved, fingerprint, stamp, facts);
        self.state.note(&kept);
        Ok(Done { kept, touched })
    }

    fn kept(
        &self,
        task: &Task,
        resolved: String,
        fingerprint: Option<String>,
        zip: Stamp,
        facts: facts::Facts,
    ) -> Kept {
        let is_dir = matches!(task.source.as_ref().map(|source| &source.kind), Ok(Kind::Dir { .. }));
        Kept {
            making: State::making(),
            package: task.name.clone(),
            source: task.source_text.clone(),
            checksum: task.checksum.clone(),
            mode: if is_dir { self.config.mode } else { Mode::default() },
            resolved,
            fingerprint,
            entry_key: task.entry_key.clone(),
            zip,
            facts,
        }
    }

    /// Trouble with the archive itself ends the run: no package is to blame.
    fn give_up(&self, failure: edge::Failure) -> Trouble {
        let trouble = Trouble::new(Cause::Refused, failure.message.clone());
        lock(&self.broken).get_or_insert(failure);
        trouble
    }
}

fn host_of_url(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest).to_ascii_lowercase()
}
