//! The tree of a commit as git lists it, and the part of it that is one package. Pure.

use crate::content::links::{self, Item, Listing};
use crate::content::tree::{Tree, TreePath};
use crate::trouble::{Limits, Trouble};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A file's content in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub id: String,
    pub bytes: u64,
}

/// The tree of one commit.
#[derive(Debug, Default)]
pub struct Commit {
    pub listing: Listing<Blob>,
    /// Other repositories that this one points at; their contents are not here.
    pub submodules: Vec<TreePath>,
    /// Names that cannot be archived.
    pub bad_names: Vec<String>,
}

/// What one package takes of a commit.
#[derive(Debug)]
pub struct Part {
    pub files: BTreeMap<TreePath, Option<(Blob, bool)>>,
    pub submodules: Vec<TreePath>,
    pub dangling: Vec<TreePath>,
}

impl Commit {
    /// Reads what `git ls-tree -r -z -l` prints. The second part are the symbolic links, with the ids of their targets.
    pub fn parse(out: &[u8]) -> Result<(Commit, BTreeMap<TreePath, String>), Trouble> {
        let mut commit = Commit::default();
        let mut links = BTreeMap::new();
        for line in out.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let tab = line.iter().position(|byte| *byte == b'\t').unwrap_or(line.len());
            let fields: Vec<&str> =
                std::str::from_utf8(&line[..tab]).unwrap_or("").split_whitespace().collect();
            let (&[mode, _, object, size], Some(name)) = (fields.as_slice(), line.get(tab + 1..)) else {
                return Err(Trouble::bad_archive("git lists a tree in a way that is not understood"));
            };
            let name = match TreePath::parse(name) {
                Ok(Some(name)) => name,
                Ok(None) => continue,
                Err(bad) => {
                    commit.bad_names.push(bad.to_string());
                    continue;
                }
            };
            let item = match mode {
                "160000" => {
                    commit.submodules.push(name);
                    continue;
                }
                "120000" => {
                    links.insert(name.clone(), object.to_owned());
                    Item::Link { target: String::new() }
                }
                mode => Item::File {
                    content: Blob { id: object.to_owned(), bytes: size.parse().unwrap_or(0) },
                    executable: mode == "100755",
                },
            };
            commit.listing.insert(name, item);
        }
        links::complete(&mut commit.listing);
        Ok((commit, links))
    }

    /// Says where the links lead, from the contents of their blobs.
    pub fn set_links(
        &mut self,
        links: &BTreeMap<TreePath, String>,
        blobs: &BTreeMap<String, Arc<Vec<u8>>>,
    ) -> Result<(), Trouble> {
        for (name, id) in links {
            let target = blobs.get(id).and_then(|data| String::from_utf8(data.to_vec()).ok());
            let target = target.ok_or_else(|| Trouble::bad_archive(format!("bad symbolic link {name}")))?;
            self.listing.insert(name.clone(), Item::Link { target });
        }
        Ok(())
    }

    /// The package below `path` (the elements of `?path=`).
    pub fn part(&self, path: &[String], limits: &Limits) -> Result<Part, Trouble> {
        let under = match TreePath::parse(path.join("/").as_bytes()) {
            _ if path.is_empty() => None,
            Ok(under) => under,
            Err(bad) => return Err(Trouble::bad_source(format!("path query with {bad}"))),
        };
        if let Some(bad) = self.bad_names.first() {
            return Err(Trouble::bad_archive(format!("the repository has a {bad}")));
        }
        let Some(resolved) = links::resolve(&self.listing, under.as_ref(), limits)? else {
            return Err(Trouble::gone(format!("no such directory in the repository: {}", path.join("/"))));
        };

        let submodules = self
            .submodules
            .iter()
            .filter_map(|name| match &under {
                None => Some(name.clone()),
                Some(under) => name.relative_to(under),
            })
            .collect();
        let part = Part { files: resolved.items, submodules, dangling: resolved.dangling };
        limits.check_size(part.bytes(), part.bytes())?;
        Ok(part)
    }
}

impl Part {
    /// All files together.
    pub fn bytes(&self) -> u64 {
        self.files.values().flatten().map(|(blob, _)| blob.bytes).sum()
    }

    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.files.values().flatten().map(|(blob, _)| &blob.id)
    }

    pub fn tree(&self, blobs: &BTreeMap<String, Arc<Vec<u8>>>) -> Result<Tree, Trouble> {
        let mut tree = Tree::default();
        for (name, file) in &self.files {
            match file {
                None => tree.add_directory(name.clone()),
                Some((blob, executable)) => {
                    let data = blobs.get(&blob.id).ok_or_else(|| {
                        Trouble::bad_archive("the repository is damaged: an object is missing")
                    })?;
                    tree.add_file(name.clone(), data.clone(), *executable);
                }
            }
        }
        Ok(tree)
    }
}
