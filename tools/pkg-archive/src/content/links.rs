//! Symbolic links inside a listing (archive or git tree) become copies of what they point to. Pure.

use crate::content::tree::TreePath;
use crate::trouble::{Limits, Trouble};
use std::collections::BTreeMap;

/// One thing in a listing whose file contents are known by a handle `C`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<C> {
    Directory,
    File { content: C, executable: bool },
    Link { target: String },
}

pub type Listing<C> = BTreeMap<TreePath, Item<C>>;

/// A listing without links: what is below `under` (the whole listing for `None`), names seen from there.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved<C> {
    /// `None` is a directory.
    pub items: BTreeMap<TreePath, Option<(C, bool)>>,
    /// Links whose target is not there; they are left out.
    pub dangling: Vec<TreePath>,
}

/// Adds the directories above every item that the listing does not name itself.
pub fn complete<C>(listing: &mut Listing<C>) {
    let names: Vec<TreePath> = listing.keys().cloned().collect();
    for name in names {
        let mut at = name.parent();
        while let Some(parent) = at {
            if listing.contains_key(&parent) {
                break;
            }
            at = parent.parent();
            listing.insert(parent, Item::Directory);
        }
    }
}

/// Follows the links of a [`complete`] listing. A link may leave `under` (a package in a repository that points at
/// the repository's licence) but not the listing. `Ok(None)`: there is no directory `under`.
pub fn resolve<C: Clone>(
    listing: &Listing<C>,
    under: Option<&TreePath>,
    limits: &Limits,
) -> Result<Option<Resolved<C>>, Trouble> {
    let start = match under {
        None => None,
        Some(path) => match find(listing, path, 0)? {
            Found::Directory(real) => real,
            Found::File(_) | Found::Nothing => return Ok(None),
        },
    };
    let mut walk = Walk { listing, limits, out: BTreeMap::new(), dangling: Vec::new() };
    walk.directory(start.as_ref(), None, &mut Vec::new())?;
    Ok(Some(Resolved { items: walk.out, dangling: walk.dangling }))
}

struct Walk<'a, C> {
    listing: &'a Listing<C>,
    limits: &'a Limits,
    out: BTreeMap<TreePath, Option<(C, bool)>>,
    dangling: Vec<TreePath>,
}

impl<C: Clone> Walk<'_, C> {
    /// Copies the children of `from` to `to`; `open` are the directories being copied, to see cycles of links.
    fn directory(
        &mut self,
        from: Option<&TreePath>,
        to: Option<&TreePath>,
        open: &mut Vec<Option<TreePath>>,
    ) -> Result<(), Trouble> {
        if open.iter().any(|dir| dir.as_ref() == from) {
            let at = to.map_or(".", TreePath::as_str);
            return Err(Trouble::bad_archive(format!("symbolic link {at:?} leads back into itself")));
        }
        open.push(from.cloned());
        for (name, item) in children(self.listing, from) {
            self.limits.check_entries(self.out.len())?;
            let target = TreePath::below(to, name.file_name());
            match item {
                Item::Directory => {
                    self.out.insert(target.clone(), None);
                    self.directory(Some(name), Some(&target), open)?;
                }
                Item::File { content, executable } => {
                    self.out.insert(target, Some((content.clone(), *executable)));
                }
                Item::Link { .. } => match find(self.listing, name, 0)? {
                    Found::Nothing => self.dangling.push(target),
                    Found::Directory(real) => {
                        self.out.insert(target.clone(), None);
                        self.directory(real.as_ref(), Some(&target), open)?;
                    }
                    Found::File(file) => {
                        if let Some(Item::File { content, executable }) = self.listing.get(&file) {
                            self.out.insert(target, Some((content.clone(), *executable)));
                        }
                    }
                },
            }
        }
        open.pop();
        Ok(())
    }
}

/// The items directly inside a directory.
fn children<'a, C>(
    listing: &'a Listing<C>,
    dir: Option<&'a TreePath>,
) -> impl Iterator<Item = (&'a TreePath, &'a Item<C>)> {
    let all: Box<dyn Iterator<Item = (&TreePath, &Item<C>)>> = match dir {
        None => Box::new(listing.iter()),
        Some(dir) => Box::new(
            listing.range(dir.clone()..).skip(1).take_while(|(name, _)| name.relative_to(dir).is_some()),
        ),
    };
    let depth = dir.map_or(0, |dir| dir.parts().count());
    all.filter(move |(name, _)| name.parts().count() == depth + 1)
}

enum Found {
    /// `None` is the root of the listing.
    Directory(Option<TreePath>),
    File(TreePath),
    Nothing,
}

/// Links in a row, as the kernel counts them.
const HOPS_MAX: u32 = 40;

/// What a name stands for once every link on the way is followed.
fn find<C>(listing: &Listing<C>, path: &TreePath, hops: u32) -> Result<Found, Trouble> {
    if hops > HOPS_MAX {
        return Err(Trouble::bad_archive(format!(
            "symbolic link {:?} leads back into itself",
            path.as_str()
        )));
    }
    let mut at: Option<TreePath> = None;
    let parts: Vec<&str> = path.parts().collect();
    for (index, part) in parts.iter().enumerate() {
        let next = TreePath::below(at.as_ref(), part);
        match listing.get(&next) {
            None => return Ok(Found::Nothing),
            Some(Item::Directory) => at = Some(next),
            Some(Item::File { .. }) if index + 1 == parts.len() => return Ok(Found::File(next)),
            Some(Item::File { .. }) => return Ok(Found::Nothing),
            Some(Item::Link { target }) => {
                let mut rest = pointed_to(&next, at.as_ref(), target)?;
                rest.extend(parts[index + 1..].iter().map(|part| (*part).to_owned()));
                return match TreePath::parse(rest.join("/").as_bytes()) {
                    Ok(Some(path)) => find(listing, &path, hops + 1),
                    _ => Ok(Found::Directory(None)),
                };
            }
        }
    }
    Ok(Found::Directory(at))
}

/// The parts of a link's target seen from the root of the listing.
fn pointed_to(link: &TreePath, parent: Option<&TreePath>, target: &str) -> Result<Vec<String>, Trouble> {
    let leaves = || {
        Trouble::bad_archive(format!(
            "symbolic link {:?} points outside the package: {target:?}",
            link.as_str()
        ))
    };
    if target.starts_with('/') || target.contains('\0') {
        return Err(leaves());
    }
    let mut parts: Vec<String> =
        parent.map(|parent| parent.parts().map(str::to_owned).collect()).unwrap_or_default();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(leaves)?;
            }
            part => parts.push(part.to_owned()),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> TreePath {
        TreePath::parse(name.as_bytes()).unwrap().unwrap()
    }
    fn listing(items: &[(&str, &str)]) -> Listing<String> {
        let mut listing: Listing<String> = items
            .iter()
            .map(|(name, what)| {
                let item = match what.strip_prefix("-> ") {
                    Some(target) => Item::Link { target: target.to_owned() },
                    None => Item::File { content: (*what).to_owned(), executable: false },
                };
                (path(name), item)
            })
            .collect();
        complete(&mut listing);
        listing
    }
    fn names(items: &[(&str, &str)], under: Option<&str>) -> Result<String, String> {
        let under = under.map(path);
        match resolve(&listing(items), under.as_ref(), &Limits::of_mb(1)) {
            Err(trouble) => Err(trouble.message),
            Ok(None) => Err("nothing".into()),
            Ok(Some(resolved)) => {
                let mut out: Vec<String> = resolved
                    .items
                    .iter()
                    .filter_map(|(name, file)| Some(format!("{name}={}", file.as_ref()?.0)))
                    .collect();
                out.extend(resolved.dangling.iter().map(|name| format!("{name}?")));
                Ok(out.join(" "))
            }
        }
    }

    #[test]
    fn links_become_copies() {
        let tree = [("LICENSE", "L"), ("p/main.rkt", "M"), ("p/LICENSE", "-> ../LICENSE"), ("q", "-> p")];
        assert_eq!(names(&tree, Some("p")).unwrap(), "LICENSE=L main.rkt=M");
        assert_eq!(names(&tree, Some("q")).unwrap(), "LICENSE=L main.rkt=M");
        assert_eq!(
            names(&tree, None).unwrap(),
            "LICENSE=L p/LICENSE=L p/main.rkt=M q/LICENSE=L q/main.rkt=M"
        );
        assert_eq!(names(&tree, Some("r")).unwrap_err(), "nothing");
    }

    #[test]
    fn links_that_leave_or_loop_are_refused() {
        for target in ["/etc/passwd", "../x", "a/../../x", "../../p/x"] {
            let error = names(&[("l", &format!("-> {target}"))], None).unwrap_err();
            assert!(error.contains("points outside the package"), "{target}: {error}");
        }
        assert!(names(&[("a", "-> b"), ("b", "-> a")], None).unwrap_err().contains("leads back"));
        assert!(names(&[("d/l", "-> ../d"), ("d/x", "X")], None).unwrap_err().contains("leads back"));
        assert!(names(&[("d/l", "-> .."), ("d/x", "X")], None).unwrap_err().contains("leads back"));
    }

    #[test]
    fn dangling_links_are_told() {
        assert_eq!(names(&[("a", "A"), ("l", "-> gone")], None).unwrap(), "a=A l?");
        assert_eq!(names(&[("a", "A"), ("l", "-> a/b")], None).unwrap(), "a=A l?");
    }

    #[test]
    fn a_web_of_links_ends_at_the_limit() {
        // each level doubles: 2^20 entries if nothing stops it
        let mut items: Vec<(String, String)> = vec![("d0/x".into(), "X".into())];
        for level in 1..20 {
            for link in ["a", "b"] {
                items.push((format!("d{level}/{link}"), format!("-> ../d{}", level - 1)));
            }
        }
        let items: Vec<(&str, &str)> = items.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert!(names(&items, None).unwrap_err().contains("more than 65000"));
    }
}
