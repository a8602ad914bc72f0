//! `--check`: is a directory an installer site that a build machine can use?

use contract::site::{Site, SiteCatalog, SiteInstaller};
use edge::{Exit, Failure, Result};
use racket_data::{Hash, Value};
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// Longest table or catalog that is read.
const DATA_MAX_BYTES: u64 = 512 << 20;
/// So many names are told in a problem; the rest is a number.
const NAMES_TOLD: usize = 5;

/// Looks at a site; everything that is wrong with it is in the document. An error only when `dir` is no directory.
pub fn check(dir: &Path) -> Result<Site> {
    let shown = dir.display();
    let cannot = |why: String| Failure::new(Exit::Unavailable, format!("cannot check \"{shown}\": {why}"));
    let metadata = fs::metadata(dir).map_err(|error| cannot(plain(&error)))?;
    if !metadata.is_dir() {
        return Err(cannot("not a directory".to_owned()));
    }
    let mut problems = Vec::new();
    let installers = installers(&dir.join("installers"), &mut problems);
    let catalog = catalog(&dir.join("catalog"), &mut problems);
    Ok(Site {
        kind: "site".to_owned(),
        v: contract::V,
        dir: shown.to_string(),
        usable: problems.is_empty(),
        problems,
        installers,
        catalog,
    })
}

fn installers(dir: &Path, problems: &mut Vec<String>) -> Vec<SiteInstaller> {
    let table = match read_hash(&dir.join("table.rktd")) {
        Ok(table) => table,
        Err(why) => {
            problems.push(format!("installers/table.rktd: {why}"));
            return Vec::new();
        }
    };
    if table.items.is_empty() {
        problems.push("installers/table.rktd: no installers in it".to_owned());
    }
    // newer sites say sizes and checksums too
    let details = read_hash(&dir.join("installers.rktd")).ok();
    let mut installers = Vec::new();
    for (description, name) in &table.items {
        let (Some(description), Some(name)) = (description.as_str(), name.as_str()) else {
            problems.push("installers/table.rktd: an item that is not string to string".to_owned());
            continue;
        };
        let plain_name = Path::new(name).components().count() == 1
            && matches!(Path::new(name).components().next(), Some(Component::Normal(_)));
        if !plain_name {
            problems.push(format!("installers/table.rktd: \"{name}\" is no file name"));
            continue;
        }
        let path = dir.join(name);
        let size_bytes =
            fs::metadata(&path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len());
        let expected = details.as_ref().and_then(|details| details.get_str(description)?.as_hash());
        let verified = match size_bytes {
            Some(_) => expected.and_then(|expected| matches_details(&path, expected)),
            None => None,
        };
        match size_bytes {
            None => problems.push(format!("installers/{name}: not there, but in table.rktd")),
            Some(0) => problems.push(format!("installers/{name}: empty")),
            Some(_) if verified == Some(false) => {
                problems.push(format!("installers/{name}: not what installers.rktd says (size or checksum)"));
            }
            Some(_) => {}
        }
        installers.push(SiteInstaller {
            description: description.to_owned(),
            name: name.to_owned(),
            size_bytes,
            verified,
        });
    }
    installers.sort_by(|a, b| a.description.cmp(&b.description));
    installers
}

/// Compares a file with its `size`, `sha1` and `sha256`; `None` when none of them is told.
fn matches_details(path: &Path, expected: &Hash) -> Option<bool> {
    let text = |key: &str| expected.get(key).or_else(|| expected.get_str(key));
    let (size, sha1, sha256) = (text("size"), text("sha1"), text("sha256"));
    if size.is_none() && sha1.is_none() && sha256.is_none() {
        return None;
    }
    let digests = || -> std::io::Result<(i64, String, String)> {
        let mut file = fs::File::open(path)?;
        let (mut first, mut second) = (sha1::Sha1::default(), sha2::Sha256::default());
        let mut buffer = vec![0; 256 * 1024];
        let mut size = 0;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            size += count as i64;
            sha1::Digest::update(&mut first, &buffer[..count]);
            sha1::Digest::update(&mut second, &buffer[..count]);
        }
        let (first, second) = (sha1::Digest::finalize(first), sha1::Digest::finalize(second));
        Ok((size, hex(&first), hex(&second)))
    };
    let Ok((real_size, real_sha1, real_sha256)) = digests() else { return Some(false) };
    let same = |told: Option<&Value>, real: &str| told.is_none_or(|told| told.as_str() == Some(real));
    let same_size = size.is_none_or(|told| matches!(told, Value::Int(told) if *told == real_size));
    Some(same_size && same(sha1, &real_sha1) && same(sha256, &real_sha256))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn catalog(dir: &Path, problems: &mut Vec<String>) -> Option<SiteCatalog> {
    let entries = match entries(dir) {
        Ok(entries) => entries,
        Err(why) => {
            problems.push(why);
            return None;
        }
    };
    let packages = entries.len() as u64;
    let (mut present, mut elsewhere) = (0, 0);
    let mut lacking: Vec<(String, String)> = Vec::new();
    for (name, entry) in entries {
        match source_state(dir, &entry) {
            Ok(true) => present += 1,
            Ok(false) => elsewhere += 1,
            Err(why) => lacking.push((name, why)),
        }
    }
    lacking.sort();
    for (name, why) in lacking.iter().take(NAMES_TOLD) {
        problems.push(format!("catalog: package \"{name}\": {why}"));
    }
    if lacking.len() > NAMES_TOLD {
        problems.push(format!("catalog: {} more packages that cannot be had", lacking.len() - NAMES_TOLD));
    }
    if packages == 0 {
        problems.push("catalog: no packages in it".to_owned());
    }
    let missing = lacking.into_iter().map(|(name, _)| name).collect();
    Some(SiteCatalog { packages, present, elsewhere, missing })
}

/// The entries of a directory catalog, as a client reads them over HTTP: `pkgs-all`, or `pkgs` and `pkg/NAME`.
fn entries(dir: &Path) -> std::result::Result<Vec<(String, Hash)>, String> {
    let not_hash = |file: &str| format!("{file}: an entry is not a hash");
    if dir.join("pkgs-all").exists() {
        let all = read_hash(&dir.join("pkgs-all")).map_err(|why| format!("catalog/pkgs-all: {why}"))?;
        let items = all.items.into_iter().map(|(name, entry)| match (name, entry) {
            (Value::String(name), Value::Hash(entry)) => Ok((name, entry)),
            _ => Err(not_hash("catalog/pkgs-all")),
        });
        return items.collect();
    }
    if !dir.join("pkgs").exists() {
        return Err("catalog: neither pkgs-all nor pkgs is there".to_owned());
    }
    let names = read_value(&dir.join("pkgs")).map_err(|why| format!("catalog/pkgs: {why}"))?;
    let names = names.as_list().ok_or("catalog/pkgs: not a list")?;
    let read_entry = |name: &Value| {
        let name = name.as_str().ok_or("catalog/pkgs: not a list of strings")?;
        if name.contains('/') || name.starts_with('.') {
            return Err(format!("catalog/pkgs: \"{name}\" is no package name"));
        }
        let entry =
            read_hash(&dir.join("pkg").join(name)).map_err(|why| format!("catalog/pkg/{name}: {why}"))?;
        Ok((name.to_owned(), entry))
    };
    names.iter().map(read_entry).collect()
}

/// Whether an entry's source is a file of this site that is there (true) or is elsewhere (false); otherwise what is
/// wrong with it.
fn source_state(catalog: &Path, entry: &Hash) -> std::result::Result<bool, String> {
    let source = entry.get("source").and_then(Value::as_str).ok_or("it has no source")?;
    if source.contains("://") && !source.starts_with("file://") {
        return Ok(false);
    }
    if source.starts_with('/') || source.starts_with("file://") {
        return Err(format!("its source \"{source}\" is a place on the machine that made the site"));
    }
    let relative = source.split(['?', '#']).next().unwrap_or_default();
    let path =
        below(catalog, relative).ok_or_else(|| format!("its source \"{source}\" leads out of the site"))?;
    if !path.is_file() {
        return Err(format!("\"{source}\" is not there"));
    }
    let beside = PathBuf::from(format!("{}.CHECKSUM", path.display()));
    match (fs::read_to_string(beside), entry.get("checksum").and_then(Value::as_str)) {
        (Ok(beside), Some(checksum)) if beside.trim() != checksum => {
            Err(format!("\"{source}.CHECKSUM\" is not the checksum of the catalog"))
        }
        _ => Ok(true),
    }
}

/// The file of a source relative to the catalog, as long as it stays in the site (the directory above the catalog).
fn below(catalog: &Path, relative: &str) -> Option<PathBuf> {
    let site = catalog.parent()?;
    let mut parts = vec!["catalog"];
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(site.join(parts.join("/")))
}

fn read_hash(path: &Path) -> std::result::Result<Hash, String> {
    match read_value(path)? {
        Value::Hash(hash) => Ok(hash),
        _ => Err("not a hash".to_owned()),
    }
}

fn read_value(path: &Path) -> std::result::Result<Value, String> {
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(|error| plain(&error))?;
    file.take(DATA_MAX_BYTES).read_to_end(&mut text).map_err(|error| plain(&error))?;
    match racket_data::read(&text) {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err("nothing in it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn plain(error: &std::io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_stay_in_the_site() {
        let below =
            |source: &str| below(Path::new("site/catalog"), source).map(|path| path.display().to_string());
        assert_eq!(below("../pkgs/a.zip").as_deref(), Some("site/pkgs/a.zip"));
        assert_eq!(below("./x.zip").as_deref(), Some("site/catalog/x.zip"));
        assert_eq!(below("../../a.zip"), None);
    }
}
