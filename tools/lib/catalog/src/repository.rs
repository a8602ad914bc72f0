use crate::url::{Url, decode};
use crate::{Kind, Source};
use std::fmt;

/// Where sources come from, the same however it is written: `git://github.com/U/R`, `github://github.com/U/R/B`,
/// `https://github.com/U/R.git?path=p#b` and `git@github.com:U/R.git` are one repository.
///
/// Scheme, user, a scheme's own port, final `.git` and final slashes do not count. On hosts that treat paths so
/// (github.com, gitlab.com, bitbucket.org, codeberg.org) neither does the case of letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repository {
    /// Host (lower case, with an unusual port) and path without outer slashes.
    Remote { host: String, path: String },
    /// Absolute path of a directory on this machine.
    Local(String),
}

const CASE_BLIND_HOSTS: [&str; 4] = ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"];

impl Repository {
    /// Reads what a person types: `OWNER/NAME` (on github.com), a URL of any scheme, `git@host:path`, or an
    /// absolute path. Relative paths (`./x`) are for the caller to make absolute first.
    pub fn parse(text: &str) -> Option<Repository> {
        if let Some(path) = text.strip_prefix("file://") {
            return local(&decode(path.split(['?', '#']).next().unwrap_or_default()));
        }
        if text.starts_with('/') {
            return local(text);
        }
        if text.contains("://") {
            if let Some(repository) = Source::parse(text).ok().and_then(|source| source.repository()) {
                return Some(repository);
            }
            let url = Url::parse(text)?;
            let elements: Vec<String> = url.elements();
            return remote(url.host(), &elements.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let text = text.split('#').next().unwrap_or_default();
        if let Some((host, path)) = text.split_once(':') {
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            return remote(host.to_ascii_lowercase(), &path.split('/').collect::<Vec<_>>());
        }
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [host, owner, name] if host.contains('.') => remote(host.to_ascii_lowercase(), &[owner, name]),
            [owner, name] if *owner != "." && *owner != ".." => {
                remote("github.com".to_owned(), &[owner, name])
            }
            _ => None,
        }
    }

    pub(crate) fn of(source: &Source) -> Option<Repository> {
        match &source.kind {
            Kind::Name(_) => None,
            Kind::File { path } | Kind::Dir { path, .. } => local(path),
            Kind::GitHub { owner, repo, .. } => remote("github.com".to_owned(), &[owner, repo]),
            Kind::Git { url, .. } => {
                let url = Url::parse(url)?;
                let elements = url.elements();
                remote(url.host(), &elements.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Kind::FileUrl { url } | Kind::DirUrl { url } => served_by_forge(url),
        }
    }

    /// True when a source of `other` lies in this repository: the same, or for a local one a path below it.
    pub fn contains(&self, other: &Repository) -> bool {
        match (self, other) {
            (Repository::Local(root), Repository::Local(path)) => {
                path.strip_prefix(root.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    || root == "/"
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Repository::Remote { host, path } => write!(f, "{host}/{path}"),
            Repository::Local(path) => f.write_str(path),
        }
    }
}

fn local(path: &str) -> Option<Repository> {
    let path = path.strip_prefix("localhost").unwrap_or(path);
    if !path.starts_with('/') {
        return None;
    }
    let mut simple = crate::url::simplify(path);
    while simple.len() > 1 && simple.ends_with('/') {
        simple.pop();
    }
    Some(Repository::Local(simple))
}

fn remote(host: String, elements: &[&str]) -> Option<Repository> {
    let elements: Vec<&str> = elements.iter().copied().filter(|element| !element.is_empty()).collect();
    let path = elements.join("/");
    let path = path.strip_suffix(".git").unwrap_or(&path);
    if host.is_empty() || path.is_empty() {
        return None;
    }
    let path = match CASE_BLIND_HOSTS.contains(&host.as_str()) {
        true => path.to_ascii_lowercase(),
        false => path.to_owned(),
    };
    Some(Repository::Remote { host, path })
}

/// What a forge makes on the fly from a repository: archives of a branch, and the repository's own page. A file that
/// somebody uploaded (a release, a raw file) is not the repository.
fn served_by_forge(url: &str) -> Option<Repository> {
    let url = Url::parse(url)?;
    let host = url.host();
    if !CASE_BLIND_HOSTS.contains(&host.as_str()) {
        return None;
    }
    let elements = url.elements();
    let elements: Vec<&str> =
        elements.iter().map(String::as_str).filter(|element| !element.is_empty()).collect();
    match elements.as_slice() {
        [owner, name] => remote(host, &[owner, name]),
        [owner, name, "archive" | "zipball" | "tarball" | "tree" | "get" | "src", ..] => {
            remote(host, &[owner, name])
        }
        [path @ .., "-", "archive" | "tree", _, _] | [path @ .., "-", "archive" | "tree", _] => {
            remote(host, path)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_repository_however_written() {
        let expected = Repository::parse("U/R").unwrap();
        assert_eq!(expected.to_string(), "github.com/u/r");
        for source in [
            "git://github.com/U/R",
            "git://github.com/u/r.git/?path=x#y",
            "github://github.com/U/R/B",
            "github://github.com/U/R/B/p/q/",
            "https://github.com/U/R.git",
            "http://github.com/U/R.git?path=p",
            "https://someone@github.com:443/U/R.git/",
            "git+https://github.com/U/R#x",
            "git+http://github.com/U/R.git",
            "https://github.com/U/R",
            "https://github.com/U/R/archive/master.zip",
            "https://github.com/U/R/archive/refs/heads/x.tar.gz",
            "https://github.com/U/R/zipball/master",
            "https://github.com/U/R/tree/master/sub",
        ] {
            assert_eq!(Source::parse(source).unwrap().repository().as_ref(), Some(&expected), "{source}");
            assert_eq!(Repository::parse(source).as_ref(), Some(&expected), "{source}");
        }
        for typed in
            ["u/r", "git@github.com:U/R.git", "ssh://git@github.com/U/R", "github.com/U/R", "U/R#branch"]
        {
            assert_eq!(Repository::parse(typed).as_ref(), Some(&expected), "{typed}");
        }
        for other in [
            "https://github.com/U/R2.git",
            "https://gitlab.com/U/R.git",
            "https://github.com/U/R/releases/download/v1/x.zip",
            "https://github.com/U/R/raw/master/x.zip",
            "https://raw.githubusercontent.com/U/R/master/x.zip",
            "git://h/U/R",
        ] {
            let repository = Source::parse(other).unwrap().repository();
            assert_ne!(repository.as_ref(), Some(&expected), "{other}");
        }
    }

    #[test]
    fn other_hosts_and_places() {
        let same = |a: &str, b: &str| assert_eq!(Repository::parse(a), Repository::parse(b), "{a} {b}");
        same("https://gitlab.com/a/b/c.git", "https://gitlab.com/a/B/c/-/archive/main/c.zip");
        same("git://localhost:9418/x.git", "http://localhost/x");
        assert_ne!(Repository::parse("http://h:8080/x.git"), Repository::parse("http://h/x.git"));
        assert_ne!(Repository::parse("http://h/X.git"), Repository::parse("http://h/x.git"));
        let checkout = Repository::parse("/w/checkout/").unwrap();
        let within = Source::parse("file:///w/checkout/sub%20dir").unwrap().repository().unwrap();
        assert!(checkout.contains(&within) && !within.contains(&checkout));
        assert!(!checkout.contains(&Repository::parse("/w/checkout2").unwrap()));
        for nothing in ["", "foo", "./x", "../x", "a/b/c/d", "/", "http://h"] {
            let repository = Repository::parse(nothing);
            assert!(repository.is_none() || nothing == "/", "{nothing} {repository:?}");
        }
    }
}
