//! Git: one conversation with the server for all packages of a repository.

use super::{Done, GIVE_UP_AFTER, Workshop, host_of_url, lock};
use crate::content::facts::LeftOut;
use crate::plan::{Step, Task};
use crate::sources::file::Content;
use crate::sources::git::{self, Heads, Repository, Want};
use crate::sources::git_program::Watch;
use crate::sources::git_tree::Part;
use crate::trouble::Trouble;
use contract::archived::Cause;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a repository gave for one package.
pub enum Fetched {
    Content(Box<Content>),
    /// Done already: what is archived is what the reference stands for, or it was packed on the spot.
    Done(Box<Done>),
}

/// What a repository gave, by the index of the task.
pub type Results = Vec<(usize, Result<Fetched, Trouble>)>;

impl Workshop<'_> {
    pub(super) fn repository(&self, url: &str, tasks: &[Task], indices: &[usize]) -> Results {
        let host = host_of_url(url);
        if let Some((times, last)) =
            lock(&self.silent).get(&host).filter(|(times, _)| *times >= GIVE_UP_AFTER)
        {
            let message =
                format!("not asked: {host} did not answer {times} times in a row, last: {}", last.message);
            let trouble = Trouble::new(Cause::Unreachable, message);
            return indices.iter().map(|index| (*index, Err(trouble.clone()))).collect();
        }
        let mut results = Vec::new();
        let fetched = self.patiently(|| {
            results.clear();
            self.converse(url, tasks, indices, &mut results)
        });
        let mut silent = lock(&self.silent);
        match &fetched {
            Err(trouble) if trouble.cause == Cause::Unreachable => {
                let times = silent.get(&host).map_or(0, |(times, _)| *times) + 1;
                silent.insert(host, (times, trouble.clone()));
            }
            _ => drop(silent.remove(&host)),
        }
        drop(silent);
        if let Err(trouble) = fetched {
            let told: BTreeSet<usize> = results.iter().map(|(index, _)| *index).collect();
            let open = indices.iter().filter(|index| !told.contains(index));
            results.extend(open.map(|index| (*index, Err(trouble.clone()))));
        }
        results
    }

    /// Tries again what may have been an accident on the way.
    fn patiently(&self, mut attempt: impl FnMut() -> Result<(), Trouble>) -> Result<(), Trouble> {
        let mut pause = Duration::from_millis(300);
        for _ in 0..self.config.retries.min(3) {
            match attempt() {
                Err(trouble) if trouble.cause == Cause::Unreachable => {
                    edge::say::detail(format!("{}; trying again", trouble.message));
                    std::thread::sleep(pause);
                    pause *= 3;
                }
                result => return result,
            }
        }
        attempt()
    }

    fn converse(
        &self,
        url: &str,
        tasks: &[Task],
        indices: &[usize],
        results: &mut Results,
    ) -> Result<(), Trouble> {
        let watch = Watch {
            silence: self.config.silence,
            total: self.config.silence * 60,
            received_bytes: self.config.limits.packed_bytes * 4,
        };
        let receive = self.receive();
        let wants: BTreeMap<usize, Want> =
            indices.iter().filter_map(|index| Some((*index, tasks[*index].want()?.1))).collect();
        let all: BTreeSet<Want> = wants.values().cloned().collect();
        let heads = match all.iter().any(|want| want.commit.is_none()) {
            true => Heads::ask(url, &all, &watch, &receive)?,
            false => Heads::default(),
        };
        let mut by_id: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, want) in &wants {
            let task = &tasks[*index];
            let bad_commit = want.commit.as_deref().is_some_and(|id| !is_object_id(id));
            let resolved = match bad_commit {
                true => Err(Trouble::bad_source(format!("the checksum is no commit: {:?}", task.checksum))),
                false => heads.resolve(url, want),
            };
            let id = match resolved {
                Ok(id) => id,
                Err(trouble) => {
                    results.push((*index, Err(trouble)));
                    continue;
                }
            };
            let (step, zip) = self.step(task);
            match self.state.kept.get(&task.name) {
                Some(kept) if step == Step::Ask && kept.resolved == id => {
                    results
                        .push((*index, self.keep(task, kept, zip).map(|done| Fetched::Done(Box::new(done)))));
                }
                _ => by_id.entry(id).or_default().push(*index),
            }
        }
        if by_id.is_empty() {
            return Ok(());
        }
        let ids: BTreeMap<String, BTreeSet<Want>> = by_id
            .iter()
            .map(|(id, indices)| (id.clone(), indices.iter().map(|index| wants[index].clone()).collect()))
            .collect();
        let number = self.repositories.fetch_add(1, Ordering::Relaxed);
        let dir = git::directory(&self.store.work_dir(), number);
        let (repository, mut failed) = Repository::fetch(url, dir, &ids, &watch, &receive)?;
        let mut parts = Vec::new();
        for (id, indices) in by_id {
            let commit = match failed.remove(&id) {
                Some(trouble) => Err(trouble),
                None => repository.list(&id),
            };
            for index in indices {
                let path =
                    tasks[index].source.as_ref().map(catalog::Source::subdirectory).unwrap_or_default();
                let part = match &commit {
                    Ok(commit) => commit.part(path, &self.config.limits),
                    Err(trouble) => Err(trouble.clone()),
                };
                match part {
                    Ok(part) => parts.push((index, id.clone(), part)),
                    Err(trouble) => results.push((index, Err(trouble))),
                }
            }
        }
        self.take_parts(&repository, tasks, parts, results)
    }

    /// Reads the contents of the packages: at once, or one after the other where all together are large.
    fn take_parts(
        &self,
        repository: &Repository,
        tasks: &[Task],
        parts: Vec<(usize, String, Part)>,
        results: &mut Results,
    ) -> Result<(), Trouble> {
        let total_bytes: u64 = parts.iter().map(|(_, _, part)| part.bytes()).sum();
        let at_once = total_bytes <= AT_ONCE_BYTES_MAX;
        let wanted: BTreeSet<String> = match at_once {
            true => parts.iter().flat_map(|(_, _, part)| part.ids().cloned()).collect(),
            false => BTreeSet::new(),
        };
        let mut blobs = repository.blobs(&wanted)?;
        for (index, id, part) in parts {
            if !at_once {
                blobs = repository.blobs(&part.ids().cloned().collect())?;
            }
            let content = part.tree(&blobs).map(|tree| {
                let left_out =
                    LeftOut { submodules: part.submodules, dangling: part.dangling, unverified: false };
                Content { tree, zip: None, resolved: id, left_out }
            });
            let result = match content {
                Ok(content) if at_once => Ok(Fetched::Content(Box::new(content))),
                Ok(content) => {
                    self.pack(&tasks[index], content, None).map(|done| Fetched::Done(Box::new(done)))
                }
                Err(trouble) => Err(trouble),
            };
            results.push((index, result));
        }
        Ok(())
    }
}

/// Contents of the packages of one repository that are held in memory together.
const AT_ONCE_BYTES_MAX: u64 = 128 << 20;

fn is_object_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
