//! What the archive remembers from run to run (`.pkg-archive/`), so that an unchanged package costs one look and an
//! interrupted run goes on where it stopped. Nothing in it is needed to use the archive.

use super::raco_state;
use super::store::Store;
use crate::args::Mode;
use crate::content::facts::Facts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Goes up when zips or facts are made differently, so that everything is looked at afresh.
const MAKING: u32 = 1;

/// One archived package.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Kept {
    pub making: u32,
    pub package: String,
    /// As the catalog gave them.
    pub source: String,
    pub checksum: String,
    pub mode: Mode,
    /// What the source turned out to be: commit, SHA-1 of the archive, `""` for a directory.
    pub resolved: String,
    /// Hash over the files of a directory as the file system describes them; absent when it could not be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Hash of the part of the catalog entry that `facts` depend on.
    pub entry_key: String,
    pub zip: Stamp,
    pub facts: Facts,
}

/// A zip and how its file looked when it had this content.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Stamp {
    pub sha1: String,
    pub bytes: u64,
    pub inode: u64,
    pub changed_ns: i64,
}

#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    pub kept: BTreeMap<String, Kept>,
    journal: Mutex<Option<File>>,
}

impl State {
    /// Reads what earlier runs left; anything that cannot be understood is as if it were not there.
    /// A state file of raco speaks where nothing else is known.
    pub fn load(dir: &Path, store: &Store, raco: Option<&Path>) -> edge::Result<State> {
        let mut kept = BTreeMap::new();
        for name in ["state.jsonl", "journal.jsonl"] {
            let text = fs::read(dir.join(name)).unwrap_or_default();
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                // the last line of a journal may be half written
                if let Ok(record) = serde_json::from_slice::<Kept>(line)
                    && record.making == MAKING
                {
                    kept.insert(record.package.clone(), record);
                }
            }
        }
        if let Some(path) = raco {
            for (package, row) in raco_state::read(path)? {
                if !kept.contains_key(&package)
                    && let Some(record) = raco_state::kept(&package, &row, store)
                {
                    kept.insert(package, record);
                }
            }
        }
        Ok(State { dir: dir.to_owned(), kept, journal: Mutex::new(None) })
    }

    pub fn making() -> u32 {
        MAKING
    }

    /// Remembers one package at once, should the run be interrupted. Trouble with it costs nothing but time later.
    pub fn note(&self, record: &Kept) {
        let Ok(mut line) = serde_json::to_vec(record) else { return };
        line.push(b'\n');
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if journal.is_none() {
            *journal = OpenOptions::new().create(true).append(true).open(self.dir.join("journal.jsonl")).ok();
        }
        if let Some(file) = journal.as_mut() {
            let _ = file.write_all(&line);
        }
    }

    /// Writes all of it, if it differs from what is there, and drops the journal.
    pub fn save<'a>(&self, kept: impl Iterator<Item = &'a Kept>) -> edge::Result<()> {
        let mut text = Vec::new();
        for record in kept {
            let line = serde_json::to_vec(record)
                .map_err(|error| edge::Failure::bug(format!("cannot render the state: {error}")))?;
            text.extend(line);
            text.push(b'\n');
        }
        let path = self.dir.join("state.jsonl");
        if fs::read(&path).ok().as_deref() != Some(&text) {
            edge::write_atomic(&path, &text)?;
        }
        let _ = fs::remove_file(self.dir.join("journal.jsonl"));
        Ok(())
    }
}
