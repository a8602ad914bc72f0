//! Puts the changed files of a catalog directory in place one by one, where the directory cannot be swapped as a
//! whole. Each file is the old or the new one at any moment; an edit that was interrupted between two of them is
//! finished by the next one: all files are ready in the directory `.catalog-edit-ready` before the first takes its place.

use super::Files;
use super::replace::write;
use std::fs::{self, File};
use std::io::{ErrorKind, Result};
use std::path::Path;

const MAKING: &str = ".catalog-edit-new";
const READY: &str = ".catalog-edit-ready";
/// In it: paths of the files that go away, one a line.
const GONE: &str = "gone";

/// Replaces the files. The caller has the lock.
pub fn replace(directory: &Path, files: &Files) -> Result<()> {
    let making = directory.join(MAKING);
    remove(&making)?;
    let cleanup = {
        let making = making.clone();
        edge::on_exit(move || {
            let _ = fs::remove_dir_all(making);
        })
    };
    fs::create_dir_all(making.join("new/pkg"))?;
    let mut gone = String::new();
    for (path, text) in files {
        match text {
            Some(text) => write(&making.join("new").join(path), text, Some(&directory.join(path)))?,
            None => gone.push_str(&format!("{}\n", path.display())),
        }
    }
    write(&making.join(GONE), gone.as_bytes(), None)?;
    for dir in ["new/pkg", "new", ""] {
        File::open(making.join(dir))?.sync_all()?;
    }
    fs::rename(&making, directory.join(READY))?;
    cleanup.forget();
    finish(directory)
}

/// Finishes an edit whose files were all ready; does nothing when there is none.
pub fn finish(directory: &Path) -> Result<()> {
    let ready = directory.join(READY);
    if !ready.try_exists()? {
        return Ok(());
    }
    File::open(directory)?.sync_all()?;
    // single packages first, the whole list last
    for dir in ["pkg", ""] {
        for entry in fs::read_dir(ready.join("new").join(dir))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::rename(entry.path(), directory.join(dir).join(entry.file_name()))?;
            }
        }
    }
    for path in fs::read_to_string(ready.join(GONE))?.lines() {
        match fs::remove_file(directory.join(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    for dir in ["pkg", ""] {
        if let Ok(dir) = File::open(directory.join(dir)) {
            dir.sync_all()?;
        }
    }
    remove(&ready)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_edit_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let text = |path: &str| fs::read_to_string(dir.join(path)).unwrap_or_default();
        fs::create_dir(dir.join("pkg")).unwrap();
        for (path, text) in [("pkgs", "1"), ("pkgs-all", "1"), ("pkg/a", "1"), ("pkg/b", "1"), ("other", "1")]
        {
            fs::write(dir.join(path), text).unwrap();
        }
        let mut files = Files::new();
        files.insert("pkgs-all".into(), Some(b"2".to_vec()));
        files.insert("pkg/a".into(), Some(b"2".to_vec()));
        files.insert("pkg/b".into(), None);
        replace(dir, &files).unwrap();
        assert_eq!(["pkgs", "pkgs-all", "pkg/a", "pkg/b", "other"].map(text), ["1", "2", "2", "", "1"]);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 4);

        // stopped after the first file
        fs::create_dir_all(dir.join(READY).join("new/pkg")).unwrap();
        fs::write(dir.join(READY).join("new/pkgs-all"), "3").unwrap();
        fs::write(dir.join(READY).join(GONE), "pkg/a\npkg/b\n").unwrap();
        finish(dir).unwrap();
        assert_eq!(["pkgs-all", "pkg/a"].map(text), ["3", ""]);
        assert!(!dir.join(READY).exists());
        finish(dir).unwrap();
    }
}
