//! The `machines` document, and where its state is.

use crate::args::Config;
use crate::state::store::{Store, valid_name};
use contract::machines::{Machine, Machines};
use edge::{Exit, Failure, Result};
use std::path::{Path, PathBuf};

const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// The document and the directory that its relative paths start from.
#[derive(Debug)]
pub struct Loaded {
    pub document: Machines,
    pub base_dir: PathBuf,
}

pub fn load(path: &Path) -> Result<Loaded> {
    let shown = path.display();
    let text = edge::read_input(path, MAX_DOCUMENT_BYTES).map_err(|failure| {
        if failure.exit == Exit::Unavailable {
            failure.hint("--machines names the document that describes the machines; see machines(5)")
        } else {
            failure
        }
    })?;
    let document: Machines = contract::read(&text)
        .map_err(|error| Failure::data(format!("cannot read machines \"{shown}\": {error}")))?;
    let mut names = std::collections::BTreeSet::new();
    for machine in &document.machines {
        if !valid_name(&machine.name) {
            return Err(Failure::data(format!(
                "cannot read machines \"{shown}\": a machine cannot be named \"{}\"",
                machine.name
            )));
        }
        if !names.insert(&machine.name) {
            return Err(Failure::data(format!(
                "cannot read machines \"{shown}\": two machines are named \"{}\"",
                machine.name
            )));
        }
    }
    let base_dir = match path.parent() {
        Some(parent) if path != Path::new("-") && !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let base_dir = base_dir
        .canonicalize()
        .map_err(|error| Failure::unavailable(format!("cannot find \"{}\": {error}", base_dir.display())))?;
    Ok(Loaded { document, base_dir })
}

impl Loaded {
    pub fn find(&self, name: &str) -> Result<Machine> {
        let all = &self.document.machines;
        all.iter().find(|machine| machine.name == name).cloned().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|machine| machine.name.as_str()).collect();
            Failure::unavailable(format!("cannot find machine \"{name}\""))
                .detail("machines", names.join(", "))
        })
    }
}

/// The state directory: of the command line, of the document, or of the user.
pub fn store(config: &Config) -> Result<Store> {
    if let Some(dir) = &config.state_dir {
        return Store::open(dir);
    }
    if config.machines.is_file() {
        let loaded = load(&config.machines)?;
        if let Some(dir) = &loaded.document.state_dir {
            return Store::open(&loaded.base_dir.join(dir));
        }
    }
    let home = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = home("XDG_STATE_HOME").or_else(|| home("HOME").map(|home| home.join(".local/state")));
    match state {
        Some(dir) => Store::open(&dir.join("downstream/machines")),
        None => Err(Failure::usage("cannot tell where to keep machines: HOME is not set")
            .hint("--state-dir DIR, or state_dir in the machines document")),
    }
}
