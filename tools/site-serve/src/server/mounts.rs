//! Which directory answers for which path.

use edge::{Exit, Failure, Result};
use std::path::{Path, PathBuf};

/// A directory that is served below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Segments of the prefix; none for `/`.
    pub prefix: Vec<String>,
    pub dir: PathBuf,
}

impl Mount {
    pub fn root(dir: PathBuf) -> Mount {
        Mount { prefix: Vec::new(), dir }
    }

    /// `/PREFIX=DIR`
    pub fn parse(text: &str) -> Result<Mount> {
        let bad = |why: &str| {
            Failure::usage(format!("cannot understand --mount \"{text}\": {why}"))
                .hint("write /PREFIX=DIR, for example /catalog=out/catalog")
        };
        let (prefix, dir) = text.split_once('=').ok_or_else(|| bad("no = in it"))?;
        let rest = prefix.strip_prefix('/').ok_or_else(|| bad("the prefix must start with /"))?;
        if dir.is_empty() {
            return Err(bad("no directory"));
        }
        let segments: Vec<String> = rest.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        if segments.iter().any(|segment| segment == "." || segment == "..") {
            return Err(bad("the prefix has . or .. in it"));
        }
        Ok(Mount { prefix: segments, dir: PathBuf::from(dir) })
    }

    /// `/a/b`, or `/`.
    pub fn shown(&self) -> String {
        format!("/{}", self.prefix.join("/"))
    }
}

/// The mounts of a server, longest prefix first.
#[derive(Clone, Debug)]
pub struct Mounts(Vec<Mount>);

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Below a directory, by this relative path.
    In(&'a Mount, PathBuf),
    /// Above mounts only: nothing but their names is there.
    Above,
    Nowhere,
}

impl Mounts {
    pub fn new(mut mounts: Vec<Mount>) -> Result<Mounts> {
        mounts.sort_by(|a, b| b.prefix.len().cmp(&a.prefix.len()).then(a.prefix.cmp(&b.prefix)));
        if let Some(pair) = mounts.windows(2).find(|pair| pair[0].prefix == pair[1].prefix) {
            let shown = pair[0].shown();
            return Err(Failure::usage(format!("two directories are to be served at \"{shown}\"")));
        }
        Ok(Mounts(mounts))
    }

    /// Makes the directories absolute; each must be there.
    pub fn resolve(self) -> Result<Mounts> {
        let resolved = self.0.into_iter().map(|mount| {
            let cannot = |why: &dyn std::fmt::Display| {
                let message = format!("cannot serve \"{}\": {why}", mount.dir.display());
                Failure::new(Exit::Unavailable, message)
                    .hint("name a directory that is there and can be read")
            };
            let dir = mount.dir.canonicalize().map_err(|error| {
                let why = error.to_string();
                cannot(&why.split(" (os error").next().unwrap_or_default().to_lowercase())
            })?;
            if !dir.is_dir() {
                return Err(cannot(&"not a directory"));
            }
            Ok(Mount { prefix: mount.prefix.clone(), dir })
        });
        resolved.collect::<Result<Vec<Mount>>>().map(Mounts)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Mount> {
        self.0.iter()
    }

    /// Finds the directory for a path, given as decoded segments.
    pub fn place(&self, segments: &[Vec<u8>]) -> Place<'_> {
        for mount in &self.0 {
            let below = segments.len() >= mount.prefix.len()
                && mount.prefix.iter().zip(segments).all(|(prefix, segment)| prefix.as_bytes() == segment);
            if below {
                let relative =
                    segments[mount.prefix.len()..].iter().map(|segment| as_os_str(segment)).collect();
                return Place::In(mount, relative);
            }
        }
        if self.names_below(segments).is_empty() { Place::Nowhere } else { Place::Above }
    }

    /// Names of mounts, or of what leads to them, directly below a path.
    pub fn names_below(&self, segments: &[Vec<u8>]) -> Vec<String> {
        let leads_on = |mount: &Mount| {
            let above = segments.len() < mount.prefix.len()
                && mount.prefix.iter().zip(segments).all(|(prefix, segment)| prefix.as_bytes() == segment);
            above.then(|| mount.prefix[segments.len()].clone())
        };
        let mut names: Vec<String> = self.0.iter().filter_map(leads_on).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn as_os_str(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<Vec<u8>> {
        path.split('/').filter(|s| !s.is_empty()).map(|s| s.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_longest_prefix_answers() {
        let mounts = ["/a=one", "/a/b=two", "/=root"].map(|text| Mount::parse(text).unwrap());
        let mounts = Mounts::new(mounts.into()).unwrap();
        let find = |path: &str| match mounts.place(&segments(path)) {
            Place::In(mount, rest) => format!("{}:{}", mount.dir.display(), rest.display()),
            other => format!("{other:?}"),
        };
        assert_eq!(find("/x/y"), "root:x/y");
        assert_eq!(find("/a"), "one:");
        assert_eq!(find("/a/c"), "one:c");
        assert_eq!(find("/a/b/c"), "two:c");
        assert_eq!(find("/ab"), "root:ab");
        assert_eq!(mounts.names_below(&segments("/")), ["a"]);
        assert_eq!(mounts.names_below(&segments("/a")), ["b"]);
    }

    #[test]
    fn above_mounts_there_are_only_their_names() {
        let mounts = Mounts::new(vec![Mount::parse("/x/y=dir").unwrap()]).unwrap();
        assert_eq!(mounts.place(&segments("/")), Place::Above);
        assert_eq!(mounts.place(&segments("/x")), Place::Above);
        assert_eq!(mounts.place(&segments("/z")), Place::Nowhere);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "/a", "a=b", "/a=", "/../a=b"] {
            assert!(Mount::parse(bad).is_err(), "{bad}");
        }
        let twice = vec![Mount::parse("/a=b").unwrap(), Mount::parse("/a/=c").unwrap()];
        assert!(Mounts::new(twice).is_err());
    }
}
