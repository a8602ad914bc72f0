//! What a package consists of: names and contents in memory, safe by construction. Pure: no I/O.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Name of a file or directory inside a package: relative, `/` between the parts, never empty, no `.` or `..` part.
/// Ordered as a depth-first walk with sorted directories meets them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TreePath(String);

/// Why a name may not be unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadName {
    Absolute(String),
    Up(String),
    Empty,
    NotUtf8(String),
    Nul(String),
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadName::Absolute(name) => write!(f, "absolute name {name:?}"),
            BadName::Up(name) => write!(f, "name with an up-directory element {name:?}"),
            BadName::Empty => f.write_str("empty name"),
            BadName::NotUtf8(name) => write!(f, "name that is not UTF-8 {name:?}"),
            BadName::Nul(name) => write!(f, "name with a NUL {name:?}"),
        }
    }
}

impl TreePath {
    /// Checks a name as an archive or a listing gives it; `./`, doubled and final slashes are dropped.
    /// `Ok(None)` is the root itself (`.` or `./`).
    pub fn parse(name: &[u8]) -> Result<Option<TreePath>, BadName> {
        let Ok(name) = std::str::from_utf8(name) else {
            return Err(BadName::NotUtf8(String::from_utf8_lossy(name).into_owned()));
        };
        if name.is_empty() {
            return Err(BadName::Empty);
        }
        if name.starts_with('/') {
            return Err(BadName::Absolute(name.to_owned()));
        }
        if name.contains('\0') {
            return Err(BadName::Nul(name.to_owned()));
        }
        let mut parts = Vec::new();
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(BadName::Up(name.to_owned())),
                part => parts.push(part),
            }
        }
        Ok(if parts.is_empty() { None } else { Some(TreePath(parts.join("/"))) })
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
    pub fn parent(&self) -> Option<TreePath> {
        self.0.rsplit_once('/').map(|(parent, _)| TreePath(parent.to_owned()))
    }
    /// One level down; `part` must be a plain name.
    pub fn join(&self, part: &str) -> TreePath {
        TreePath(format!("{}/{part}", self.0))
    }
    /// `base` is the root when `None`.
    pub fn below(base: Option<&TreePath>, part: &str) -> TreePath {
        base.map_or_else(|| TreePath(part.to_owned()), |base| base.join(part))
    }
    /// The name seen from inside `base`; `None` when it is not below it.
    pub fn relative_to(&self, base: &TreePath) -> Option<TreePath> {
        let rest = self.0.strip_prefix(base.as_str())?.strip_prefix('/')?;
        Some(TreePath(rest.to_owned()))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &TreePath) -> Ordering {
        self.0.split('/').cmp(other.0.split('/'))
    }
}
impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &TreePath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Directory,
    File { data: Arc<Vec<u8>>, executable: bool },
}

/// Content of one package. Every directory above a node is a node too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<TreePath, Node>,
}

impl Tree {
    pub fn add_directory(&mut self, path: TreePath) {
        self.add_parents(&path);
        self.nodes.entry(path).or_insert(Node::Directory);
    }
    pub fn add_file(&mut self, path: TreePath, data: Arc<Vec<u8>>, executable: bool) {
        self.add_parents(&path);
        self.nodes.insert(path, Node::File { data, executable });
    }
    fn add_parents(&mut self, path: &TreePath) {
        let mut at = path.parent();
        while let Some(parent) = at {
            if self.nodes.contains_key(&parent) {
                return;
            }
            at = parent.parent();
            self.nodes.insert(parent, Node::Directory);
        }
    }
    /// All nodes, depth first, each directory sorted by the bytes of its names.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Node)> {
        self.nodes.iter()
    }
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.nodes.get(&TreePath(path.to_owned())) {
            Some(Node::File { data, .. }) => Some(data),
            _ => None,
        }
    }
    /// The one directory that is all there is at the root, if so.
    pub fn single_directory(&self) -> Option<&TreePath> {
        let mut top = self.nodes.iter().filter(|(path, _)| !path.0.contains('/'));
        match (top.next(), top.next()) {
            (Some((path, Node::Directory)), None) => Some(path),
            _ => None,
        }
    }
    /// The part of the tree inside a directory, with names seen from there; empty when there is none.
    pub fn inside(&self, base: &TreePath) -> Tree {
        let nodes = self
            .nodes
            .range(base.clone()..)
            .skip(1)
            .map_while(|(path, node)| Some((path.relative_to(base)?, node.clone())))
            .collect();
        Tree { nodes }
    }
    /// As installers read an archive: one top directory that holds everything is dropped.
    pub fn without_wrapper(self) -> Tree {
        match self.single_directory() {
            Some(top) => self.inside(top),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> TreePath {
        TreePath::parse(name.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn unsafe_names_are_refused() {
        for name in ["/etc/passwd", "../x", "a/../b", "a/..", "", "a\0b"] {
            assert!(TreePath::parse(name.as_bytes()).is_err(), "{name:?}");
        }
        assert!(TreePath::parse(b"a\xff").is_err());
        assert_eq!(TreePath::parse(b"./").unwrap(), None);
        assert_eq!(path("./a//b/").as_str(), "a/b");
        assert_eq!(path("a..b/...").as_str(), "a..b/...");
    }

    #[test]
    fn order_is_that_of_a_depth_first_walk() {
        let mut names = ["a.b", "a/c", "a", "b", "a-b", "a/b/c"].map(path);
        names.sort();
        assert_eq!(names.map(|p| p.0), ["a", "a/b/c", "a/c", "a-b", "a.b", "b"]);
    }

    #[test]
    fn one_top_directory_is_a_wrapper() {
        let mut tree = Tree::default();
        tree.add_file(path("p/info.rkt"), Arc::new(vec![1]), false);
        assert_eq!(tree.single_directory(), Some(&path("p")));
        let mut two = tree.clone();
        assert_eq!(tree.without_wrapper().file("info.rkt"), Some(&[1][..]));
        two.add_file(path("p.rkt"), Arc::new(vec![]), false);
        assert_eq!(two.clone().without_wrapper(), two);
    }

    #[test]
    fn inside_takes_the_whole_directory_and_no_neighbour() {
        let mut tree = Tree::default();
        for name in ["a/x", "a/b/y", "a-b/z", "a.c"] {
            tree.add_file(path(name), Arc::new(vec![]), false);
        }
        let names: Vec<String> = tree.inside(&path("a")).iter().map(|(p, _)| p.0.clone()).collect();
        assert_eq!(names, ["b", "b/y", "x"]);
    }
}
