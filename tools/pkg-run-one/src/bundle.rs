//! A run as evidence that others can repeat: one compressed tar with the recipe, the limits, the slice of the archive
//! that the run reads, what it found, and checksums of all of it.

use crate::config::Config;
use crate::plan::RunLimits;
use crate::recipe::Loaded;
use crate::subject::Subject;
use contract::archived::Archived;
use contract::run::Run;
use edge::{Context, Exit, Failure, Result};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Largest bundle, unpacked.
const MAX_BYTES: u64 = 16 << 30;

/// `bundle.json`, the first file of a bundle.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    kind: String,
    v: u32,
    packages: Vec<String>,
    side: String,
    /// What the machines of the run started from.
    image_id: String,
    /// SHA-1 of every other file of the bundle.
    files: BTreeMap<String, String>,
}

/// A bundle laid out on disk. The directory goes with the value.
#[derive(Debug)]
pub struct Unpacked {
    dir: tempfile::TempDir,
    /// The run that it repeats.
    pub run: Run,
}

/// Writes the bundle of a run that was carried out.
pub fn write(
    path: &Path,
    config: &Config,
    loaded: &Loaded,
    limits: &RunLimits,
    subject: &Subject,
    run: &Run,
) -> Result<()> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|error| Failure::bug(error.to_string()));
    files.insert("recipe.json".to_owned(), json(serde_json::to_vec_pretty(&loaded.recipe))?);
    files.insert("limits.json".to_owned(), json(serde_json::to_vec_pretty(limits.document()))?);
    files.insert("run.json".to_owned(), json(serde_json::to_vec_pretty(run))?);
    for log in run.phases.iter().filter_map(|phase| phase.log.as_ref()) {
        files.extend(fs::read(config.out.join(log)).ok().map(|text| (log.clone(), text)));
    }
    let (manifest, needed) = slice(config, subject)?;
    files.insert("archive/manifest.jsonl".to_owned(), manifest);
    let mut executable = BTreeSet::new();
    let mut take = |root: &Path, below: &str, name: &str| -> Result<()> {
        for file in files_below(&root.join(name)) {
            let data = fs::read(&file)
                .context(Exit::Unavailable, || format!("cannot read \"{}\"", file.display()))?;
            let shown = format!("{below}/{}", file.strip_prefix(root).unwrap_or(&file).display());
            if fs::metadata(&file).is_ok_and(|file| file.permissions().mode() & 0o111 != 0) {
                executable.insert(shown.clone());
            }
            files.insert(shown, data);
        }
        Ok(())
    };
    for package in &needed {
        // the packages under test come from source, the others as they were built
        let is_own = subject.packages.contains(package);
        let (root, below) = if is_own { (&config.archive, "archive") } else { (&config.built, "built") };
        for ending in ["", ".zip", ".zip.CHECKSUM", ".tar.gz", ".tar.gz.CHECKSUM", ".tar", ".crate"] {
            take(root, below, &format!("pkgs/{package}{ending}"))?;
        }
        take(root, below, &format!("catalog/pkg/{package}"))?;
        for name in &loaded.recipe.reads {
            take(&config.archive, "archive", &name.replace("{package}", package))?;
        }
    }
    let contents = Contents {
        kind: "bundle".to_owned(),
        v: contract::V,
        packages: subject.packages.clone(),
        side: config.side.clone(),
        image_id: run.image_id.clone(),
        files: files
            .iter()
            .map(|(name, data)| (name.clone(), crate::result::output::sha1_hex(data)))
            .collect(),
    };
    let mut tar = tar::Builder::new(GzEncoder::new(edge::AtomicFile::create(path)?, Compression::default()));
    let first = [("bundle.json".to_owned(), json(serde_json::to_vec_pretty(&contents))?)];
    let finish = || -> std::io::Result<edge::AtomicFile> {
        for (name, data) in first.into_iter().chain(files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(if executable.contains(&name) { 0o755 } else { 0o644 });
            header.set_mtime(0);
            tar.append_data(&mut header, &name, data.as_slice())?;
        }
        tar.into_inner()?.finish()
    };
    finish().context(Exit::CantCreate, || format!("cannot write \"{}\"", path.display()))?.commit()
}

/// A file itself, or every file below a directory, sorted; nothing when it is not there.
fn files_below(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths.iter().flat_map(|path| files_below(path)).collect()
}

/// The records of the packages and of everything they depend on, and the names.
fn slice(config: &Config, subject: &Subject) -> Result<(Vec<u8>, BTreeSet<String>)> {
    let path = config.archive.join("manifest.jsonl");
    let text = edge::read_input(&path, MAX_BYTES)?;
    let records: Vec<Archived> = contract::read_lines(&text).map_err(|(line, error)| {
        Failure::data(format!("cannot read \"{}\" line {line}: {error}", path.display()))
    })?;
    let by_name: BTreeMap<&str, &Archived> =
        records.iter().map(|record| (record.package.as_str(), record)).collect();
    let mut needed: BTreeSet<String> = BTreeSet::new();
    let mut waiting = subject.packages.clone();
    while let Some(name) = waiting.pop() {
        if let Some(record) = by_name.get(name.as_str()).filter(|_| needed.insert(name.clone())) {
            waiting.extend(record.dependencies.iter().map(|dependency| dependency.name.clone()));
        }
    }
    let lines = text.split_inclusive(|byte| *byte == b'\n').zip(&records);
    let kept = lines
        .filter(|(_, record)| needed.contains(&record.package))
        .flat_map(|(line, _)| line.to_vec())
        .collect();
    Ok((kept, needed))
}

/// Lays a bundle out and checks it against its own checksums.
pub fn read(path: &Path) -> Result<Unpacked> {
    let shown = format!("cannot read bundle \"{}\"", path.display());
    let file = fs::File::open(path).context(Exit::Unavailable, || shown.clone())?;
    let dir =
        tempfile::tempdir().context(Exit::CantCreate, || "cannot make a temporary directory".to_owned())?;
    let mut tar = tar::Archive::new(GzDecoder::new(file).take(MAX_BYTES));
    // refuses members that lead elsewhere
    tar.unpack(dir.path()).context(Exit::Data, || shown.clone())?;
    let text = edge::read_input(&dir.path().join("bundle.json"), MAX_BYTES)
        .map_err(|failure| Failure::data(format!("{shown}: {failure}")))?;
    let contents: Contents = serde_json::from_slice(&text).context(Exit::Data, || shown.clone())?;
    if contents.kind != "bundle" || contents.v != contract::V {
        return Err(Failure::data(format!(
            "{shown}: it is of kind \"{}\", version {}",
            contents.kind, contents.v
        )));
    }
    for (name, checksum) in &contents.files {
        let data = fs::read(dir.path().join(name)).unwrap_or_default();
        if crate::result::output::sha1_hex(&data) != *checksum {
            return Err(Failure::data(format!("{shown}: \"{name}\" is not what was put in")));
        }
    }
    let run = contract::read(&fs::read(dir.path().join("run.json")).context(Exit::Data, || shown.clone())?)
        .map_err(|error| Failure::data(format!("{shown}: {error}")))?;
    Ok(Unpacked { dir, run })
}

impl Unpacked {
    /// The configuration that repeats the run: everything but machine and output comes from the bundle.
    pub fn configure(&self, config: &Config) -> Config {
        let below = |name: &str| -> PathBuf { self.dir.path().join(name) };
        Config {
            packages: self.run.packages.clone(),
            archive: below("archive"),
            built: below("built"),
            side: self.run.side.clone(),
            recipe: below("recipe.json").display().to_string(),
            limits: config.limits.clone().or(Some(below("limits.json"))),
            try_anyway: true,
            compile_any: self.run.compile_any,
            ..config.clone()
        }
    }
}
