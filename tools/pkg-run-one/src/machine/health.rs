//! Machines that keep failing, remembered from one run to the next: each package is a process of its own, and a machine
//! that is broken must not cost every one of them its retries. `OUT/.machines/NAME.json` has the troubles that came in a
//! row; a verdict reached on the machine removes it. What cannot be read or written here stops nothing.

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Troubles in a row until a machine is taken out.
const TROUBLES_UNTIL_OUT: usize = 2;
/// Troubles that are remembered.
const MAX_TROUBLES: usize = 10;

#[derive(Debug)]
pub struct Health {
    dir: PathBuf,
    rest_s: f64,
}

/// Content of the file of a machine.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    kind: String,
    v: u32,
    machine: String,
    /// Oldest first.
    troubles: Vec<Trouble>,
    /// It is left out until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out_until: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trouble {
    pub package: String,
    /// It could not be opened: no package had a part in that.
    pub opening: bool,
    pub message: String,
}

impl Health {
    /// `rest_s`: for how long a machine is left out, in seconds; 0: never.
    pub fn new(out: &Path, rest_s: f64) -> Health {
        Health { dir: out.join(".machines"), rest_s }
    }

    /// The machines in the order they are to be tried: those that are left out come last, and that is told.
    pub fn order<'a>(&self, machines: &'a [String]) -> Vec<&'a str> {
        let (out, mut well): (Vec<&str>, Vec<&str>) =
            machines.iter().map(String::as_str).partition(|machine| self.tell_if_out(machine));
        well.extend(out);
        well
    }

    fn tell_if_out(&self, machine: &str) -> bool {
        let Some(record) = self.read(machine) else { return false };
        let Some(until) = record.out_until.filter(|until| self.is_ahead(*until)) else { return false };
        edge::say::warning(
            format!(
                "machine \"{machine}\" is left out until {}: {}",
                until.strftime("%H:%M:%S UTC"),
                record.troubles.last().map_or("it kept failing", |trouble| &trouble.message)
            ),
            Some(&self.way_back(machine)),
        );
        true
    }

    /// What brings a machine back before its time.
    fn way_back(&self, machine: &str) -> String {
        let path = self.path(machine).unwrap_or_default();
        format!("rm {} brings it back now", crate::machine::script::quote(&path.display().to_string()))
    }

    /// Notes a trouble. True when it was the one that takes the machine out.
    pub fn failed(&self, machine: &str, trouble: Trouble) -> bool {
        if self.rest_s <= 0.0 {
            return false;
        }
        let Some(_lock) = self.lock() else { return false };
        let mut record = self.read(machine).unwrap_or_default();
        (record.kind, record.v, record.machine) = ("machine-troubles".into(), contract::V, machine.into());
        record.troubles.push(trouble);
        let surplus = record.troubles.len().saturating_sub(MAX_TROUBLES);
        record.troubles.drain(..surplus);
        let was_out = record.out_until.is_some_and(|until| self.is_ahead(until));
        let is_out = keeps_failing(&record.troubles);
        if is_out {
            let rest = jiff::SignedDuration::from_secs_f64(self.rest_s);
            record.out_until = Timestamp::now().checked_add(rest).ok();
        }
        if let (Some(path), Ok(mut text)) = (self.path(machine), serde_json::to_vec_pretty(&record)) {
            text.push(b'\n');
            if edge::write_atomic(path, &text).is_err() {
                return false;
            }
        }
        is_out && !was_out
    }

    /// Says that a machine was taken out.
    pub fn tell_taken_out(&self, machine: &str) {
        edge::say::warning(
            format!(
                "machine \"{machine}\" keeps failing: it is left out for {:.0} s, also by the runs that follow",
                self.rest_s
            ),
            Some(&self.way_back(machine)),
        );
    }

    /// A verdict was reached on a machine.
    pub fn worked(&self, machine: &str) {
        if let Some(path) = self.path(machine).filter(|path| path.exists()) {
            let _lock = self.lock();
            let _ = fs::remove_file(path);
        }
    }

    /// A time that lies further ahead than this program ever puts it was written by another clock.
    fn is_ahead(&self, until: Timestamp) -> bool {
        let left_s = until.duration_since(Timestamp::now()).as_secs_f64();
        left_s > 0.0 && left_s <= self.rest_s
    }

    fn path(&self, machine: &str) -> Option<PathBuf> {
        let is_file_name = !machine.is_empty() && !machine.starts_with('.') && !machine.contains('/');
        is_file_name.then(|| self.dir.join(format!("{machine}.json")))
    }

    fn read(&self, machine: &str) -> Option<Record> {
        let record: Record = serde_json::from_slice(&fs::read(self.path(machine)?).ok()?).ok()?;
        (record.kind == "machine-troubles" && record.v == contract::V).then_some(record)
    }

    /// Goes with the value.
    fn lock(&self) -> Option<File> {
        fs::create_dir_all(&self.dir).ok()?;
        let lock = File::create(self.dir.join(".lock")).ok()?;
        flock(&lock, FlockOperation::LockExclusive).ok()?;
        Some(lock)
    }
}

/// Several troubles in a row are the machine's when no package had a part in them, or when they came to several packages:
/// one package alone that brings its machine down must not take machines from the others.
fn keeps_failing(troubles: &[Trouble]) -> bool {
    let opening = troubles.iter().filter(|trouble| trouble.opening).count();
    let packages: BTreeSet<&str> = troubles.iter().map(|trouble| trouble.package.as_str()).collect();
    opening >= TROUBLES_UNTIL_OUT || packages.len() >= TROUBLES_UNTIL_OUT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(package: &str, opening: bool) -> Trouble {
        Trouble { package: package.to_owned(), opening, message: "no answer".to_owned() }
    }

    #[test]
    fn a_machine_is_out_for_a_while_and_comes_last() {
        let dir = tempfile::tempdir().unwrap();
        let health = Health::new(dir.path(), 600.0);
        let machines = ["a".to_owned(), "b".to_owned()];
        assert!(!health.failed("a", trouble("p", true)));
        assert_eq!(health.order(&machines), ["a", "b"]);
        assert!(health.failed("a", trouble("p", true)));
        assert!(!health.failed("a", trouble("q", true)), "told once");
        assert_eq!(health.order(&machines), ["b", "a"]);
        // a clock that was ahead is not believed, a shorter rest neither
        assert_eq!(Health::new(dir.path(), 5.0).order(&machines), ["a", "b"]);
        health.worked("a");
        assert_eq!(health.order(&machines), ["a", "b"]);
    }

    #[test]
    fn one_package_alone_takes_no_machine_out() {
        let dir = tempfile::tempdir().unwrap();
        let health = Health::new(dir.path(), 600.0);
        for _ in 0..5 {
            assert!(!health.failed("a", trouble("p", false)));
        }
        assert!(health.failed("a", trouble("q", false)));
    }

    #[test]
    fn what_cannot_be_read_or_written_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".machines")).unwrap();
        fs::write(dir.path().join(".machines/a.json"), "{\"kind\": 1").unwrap();
        let health = Health::new(dir.path(), 600.0);
        assert_eq!(health.order(&["a".to_owned()]), ["a"]);
        assert!(!health.failed("../a", trouble("p", true)));
        let nowhere = Health::new(&dir.path().join(".machines/a.json"), 600.0);
        assert!(!nowhere.failed("a", trouble("p", true)));
        assert!(!Health::new(dir.path(), 0.0).failed("a", trouble("p", true)));
    }
}
