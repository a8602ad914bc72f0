use crate::url::{Url, decode};
use crate::{Name, Repository};
use std::fmt;

/// A package source, understood: what kind it is, where it is, which package name it implies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub kind: Kind,
    /// The name inferred from it; `None` when its last element is no package name (`x.y.zip`). An entry of a
    /// catalog has its name from its key, so this is no error there.
    pub name: Option<Name>,
}

/// The kinds of package sources and what each is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name, looked up in the configured catalogs.
    Name(Name),
    /// An archive on disk. The path is decoded when the source was a `file://` URL, else as written.
    File { path: String },
    /// A directory on disk.
    Dir { path: String, link: Option<Link> },
    /// An archive on a server; the URL as written.
    FileUrl { url: String },
    /// A directory on a server, with a `MANIFEST`; the URL as written.
    DirUrl { url: String },
    /// A git repository: URL without query and fragment, branch or tag or commit (absent: the head), and the
    /// elements of the package's path inside it. `git+http(s)://` is turned into its transport.
    Git { url: String, reference: Option<String>, path: Vec<String> },
    /// A repository of github.com; fetched from `https://github.com/OWNER/REPO` whatever scheme was written.
    GitHub { owner: String, repo: String, reference: Option<String>, path: Vec<String> },
}

/// `?type=link` and `?type=static-link` of a `file://` URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Link,
    Static,
}

/// A text that is no package source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSource {
    pub source: String,
    pub reason: &'static str,
}

impl fmt::Display for BadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no package source: {}", self.source, self.reason)
    }
}

impl std::error::Error for BadSource {}

impl Source {
    /// Reads a source as Racket's `package-source->name+type` infers kind and name when no type is given.
    pub fn parse(source: &str) -> Result<Source, BadSource> {
        parse(source).map_err(|reason| BadSource { source: source.to_owned(), reason })
    }

    /// What `git` is to be given to fetch it; `None` when it is in no git repository.
    pub fn git_url(&self) -> Option<String> {
        match &self.kind {
            Kind::Git { url, .. } => Some(url.clone()),
            Kind::GitHub { owner, repo, .. } => Some(format!("https://github.com/{owner}/{repo}")),
            _ => None,
        }
    }

    /// Branch, tag or commit; `None` for the head, and for what is in no git repository.
    pub fn reference(&self) -> Option<&str> {
        match &self.kind {
            Kind::Git { reference, .. } | Kind::GitHub { reference, .. } => reference.as_deref(),
            _ => None,
        }
    }

    /// Path of the package inside its repository; empty for the root.
    pub fn subdirectory(&self) -> &[String] {
        match &self.kind {
            Kind::Git { path, .. } | Kind::GitHub { path, .. } => path,
            _ => &[],
        }
    }

    /// The repository it is served from, the same for every way to write it.
    pub fn repository(&self) -> Option<Repository> {
        Repository::of(self)
    }

    /// Racket's name for the kind.
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Name(_) => "name",
            Kind::File { .. } => "file",
            Kind::Dir { link: None, .. } => "dir",
            Kind::Dir { link: Some(Link::Link), .. } => "link",
            Kind::Dir { link: Some(Link::Static), .. } => "static-link",
            Kind::FileUrl { .. } => "file-url",
            Kind::DirUrl { .. } => "dir-url",
            Kind::Git { .. } => "git",
            Kind::GitHub { .. } => "github",
        }
    }
}

const ARCHIVE_SUFFIXES: [&str; 5] = [".tar.gz", ".plt", ".zip", ".tar", ".tgz"];

fn without_archive_suffix(name: &str) -> Option<&str> {
    ARCHIVE_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))
}

fn name_of(text: &str) -> Option<Name> {
    Name::new(text).ok()
}

fn parse(source: &str) -> Result<Source, &'static str> {
    if let Some(name) = name_of(source) {
        return Ok(Source { kind: Kind::Name(name.clone()), name: Some(name) });
    }
    if source.is_empty() || source.contains('\0') {
        return Err("ill-formed path");
    }
    match source.split_once("://") {
        Some(("http" | "https", _)) => parse_http(source),
        Some(("git+http" | "git+https", _)) => {
            parse_git(source, source.strip_prefix("git+").unwrap_or(source))
        }
        Some(("git", _)) => parse_git_scheme(source),
        Some(("github", _)) => parse_github_scheme(source),
        Some(("file", _)) => parse_file_url(source),
        Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            Err("unrecognized URL scheme")
        }
        // git@host:path, which means ssh
        None if source.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/')) => {
            Err("ssh is no transport of Racket packages")
        }
        _ => parse_path(source, None),
    }
}

fn parse_path(path: &str, link: Option<Link>) -> Result<Source, &'static str> {
    let trimmed = path.trim_end_matches('/');
    let last = trimmed.rsplit('/').next().unwrap_or_default();
    if matches!(last, "." | "..") {
        return Err("ending path element is not a name");
    }
    let stem = without_archive_suffix(last).filter(|_| link.is_none() && !path.ends_with('/'));
    if let Some(stem) = stem {
        return Ok(Source { name: name_of(stem), kind: Kind::File { path: path.to_owned() } });
    }
    Ok(Source { name: name_of(last), kind: Kind::Dir { path: path.to_owned(), link } })
}

fn parse_file_url(source: &str) -> Result<Source, &'static str> {
    let url = Url::parse(source).ok_or("cannot parse URL")?;
    if !url.authority.is_empty() && url.authority != "localhost" {
        return Err("a file URL has no host");
    }
    let path = decode(url.path);
    if path.is_empty() || path.contains('\0') {
        return Err("ill-formed path");
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match url.query_value("type").as_deref() {
        Some("link") => parse_path(&path, Some(Link::Link)),
        Some("static-link") => parse_path(&path, Some(Link::Static)),
        Some("dir") if matches!(last, "." | "..") => Err("ending path element is not a name"),
        Some("dir") => Ok(Source { name: name_of(last), kind: Kind::Dir { path, link: None } }),
        Some("file") => match without_archive_suffix(&path) {
            Some(_) => parse_path(&path, None),
            None => Err("path does not end with a recognized archive extension"),
        },
        Some(_) => Err("URL contains an unrecognized type query"),
        None => parse_path(&path, None),
    }
}

fn parse_http(source: &str) -> Result<Source, &'static str> {
    let url = Url::parse(source).ok_or("cannot parse URL")?;
    let elements = url.elements();
    let last = elements.last().ok_or("URL path is empty")?;
    if let Some(stem) = without_archive_suffix(last) {
        return Ok(Source { name: name_of(stem), kind: Kind::FileUrl { url: source.to_owned() } });
    }
    let empty_at_end = elements.iter().rev().take_while(|element| element.is_empty()).count();
    let last =
        elements.iter().rev().find(|element| !element.is_empty()).ok_or("URL has no non-empty path")?;
    if last.ends_with(".git") && empty_at_end < 2 {
        return parse_git(source, source);
    }
    if matches!(last.as_str(), "." | "..") {
        return Err("URL's last path element is a directory indicator");
    }
    Ok(Source { name: name_of(last), kind: Kind::DirUrl { url: source.to_owned() } })
}

/// The `path` query, split at slashes.
fn package_path(url: &Url) -> Result<Vec<String>, &'static str> {
    let path: Vec<String> = match url.query_value("path") {
        Some(path) => path.split('/').filter(|element| !element.is_empty()).map(str::to_owned).collect(),
        None => Vec::new(),
    };
    // Racket lets `..` through for http; a package outside its repository makes no sense there either
    match path.iter().any(|element| element == "." || element == ".." || element.contains('\0')) {
        true => Err("path query includes a directory indicator"),
        false => Ok(path),
    }
}

fn reference(url: &Url) -> Option<String> {
    url.fragment.map(decode).filter(|fragment| !fragment.is_empty())
}

/// `written` is what is parsed, `transport` the same with the scheme that git understands.
fn parse_git(written: &str, transport: &str) -> Result<Source, &'static str> {
    let url = Url::parse(written).ok_or("cannot parse URL")?;
    let elements = url.elements();
    let last = elements.iter().rev().find(|element| !element.is_empty()).ok_or("URL path is empty")?;
    if elements.iter().rev().take_while(|element| element.is_empty()).count() >= 2 {
        return Err("URL path ends with two empty elements");
    }
    if matches!(last.as_str(), "." | "..") {
        return Err("URL path ends with a directory indicator");
    }
    let path = package_path(&url)?;
    let name = name_of(path.last().map_or(last.strip_suffix(".git").unwrap_or(last), String::as_str));
    let plain = transport.split(['?', '#']).next().unwrap_or(transport).trim_end_matches('/').to_owned();
    Ok(Source { name, kind: Kind::Git { url: plain, reference: reference(&url), path } })
}

fn parse_git_scheme(source: &str) -> Result<Source, &'static str> {
    let url = Url::parse(source).ok_or("cannot parse URL")?;
    if url.authority != "github.com" {
        return parse_git(source, source);
    }
    let elements = url.elements();
    let [owner, repo] = match elements.as_slice() {
        [owner, repo] => [owner, repo],
        [owner, repo, end] if end.is_empty() => [owner, repo],
        _ => return Err("URL does not have two path elements (name and repo)"),
    };
    if [owner, repo].iter().any(|element| matches!(element.as_str(), "." | ".." | "")) {
        return Err("URL includes a directory indicator as an element");
    }
    let path = package_path(&url)?;
    let repo = repo.strip_suffix(".git").unwrap_or(repo);
    let name = name_of(path.last().map_or(repo, String::as_str));
    let kind = Kind::GitHub { owner: owner.clone(), repo: repo.to_owned(), reference: reference(&url), path };
    Ok(Source { name, kind })
}

/// `github://github.com/OWNER/REPO/BRANCH/PATH…`
fn parse_github_scheme(source: &str) -> Result<Source, &'static str> {
    let url = Url::parse(source).ok_or("cannot parse URL")?;
    if url.authority != "github.com" {
        return Err("URL host is not github.com");
    }
    let mut elements = url.elements();
    if elements.last().is_some_and(String::is_empty) {
        elements.pop();
    }
    if elements.iter().any(|element| matches!(element.as_str(), "." | "..")) {
        return Err("URL includes a directory indicator");
    }
    let [owner, repo, branch, path @ ..] = elements.as_slice() else {
        return Err("URL does not have at least three path elements");
    };
    let name = name_of(path.last().unwrap_or(repo));
    let path = path.iter().filter(|element| !element.is_empty()).cloned().collect();
    let kind =
        Kind::GitHub { owner: owner.clone(), repo: repo.clone(), reference: Some(branch.clone()), path };
    Ok(Source { name, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(source, Racket's type and inferred name)`; `!` is a refusal, `-` no name.
    const CASES: &[(&str, &str)] = &[
        ("foo", "name foo"),
        ("foo.zip", "file foo"),
        ("a/b.tar.gz", "file b"),
        ("x.y.zip", "file -"),
        ("x.ZIP", "dir -"),
        ("foo/", "dir foo"),
        ("./foo", "dir foo"),
        ("..", "!"),
        ("./", "!"),
        ("a/..", "!"),
        ("../a", "dir a"),
        ("file:///d/e", "dir e"),
        ("file:///d/e/", "dir e"),
        ("file:///", "dir -"),
        ("file:///d/e.zip", "file e"),
        ("file:///d/e.zip?type=dir", "dir -"),
        ("file:///d/e?type=link", "link e"),
        ("file:///d/e?type=static-link", "static-link e"),
        ("file:///d/e?type=file", "!"),
        ("file:///d/e?type=other", "!"),
        ("https://h/a/b.zip", "file-url b"),
        ("https://h/a/b.tar.gz", "file-url b"),
        ("http://h/a/b.git", "git b"),
        ("https://h/a/b.git/", "git b"),
        ("https://h/a/b.git?path=x/y#v1", "git y"),
        ("http://h/a/b", "dir-url b"),
        ("http://h/a/b/", "dir-url b"),
        ("http://h", "!"),
        ("git://github.com/U/R", "github R"),
        ("git://github.com/U/R.git", "github R"),
        ("git://github.com/U/R/", "github R"),
        ("git://github.com/U/R?path=a/b#br", "github b"),
        ("git://github.com/U/R/S", "!"),
        ("git://github.com/U", "!"),
        ("git://github.com/U/R?path=../b", "!"),
        ("github://github.com/U/R/B", "github R"),
        ("github://github.com/U/R/B/", "github R"),
        ("github://github.com/U/R/B/p/q", "github q"),
        ("github://github.com/U/R", "!"),
        ("github://example.org/U/R/B", "!"),
        ("git://h:9999/a/b", "git b"),
        ("git+https://h/a/b", "git b"),
        ("git+http://h/a/b.git#x", "git b"),
        ("ssh://git@h/a/b", "!"),
        ("git@h:a/b", "!"),
        ("ftp://h/x.zip", "!"),
        ("HTTP://h/x.zip", "!"),
        ("", "!"),
    ];

    #[test]
    fn kinds_and_names_as_racket_infers_them() {
        for (source, expected) in CASES {
            let seen = match Source::parse(source) {
                Ok(parsed) => {
                    let name = parsed.name.as_ref().map_or("-", Name::as_str);
                    format!("{} {name}", parsed.type_name())
                }
                Err(_) => "!".to_owned(),
            };
            assert_eq!(&seen, expected, "{source}");
        }
    }

    #[test]
    fn parts_of_git_sources() {
        let parts = |source: &str| {
            let source = Source::parse(source).unwrap();
            let git = source.git_url().unwrap();
            (git, source.reference().unwrap_or("head").to_owned(), source.subdirectory().join("/"))
        };
        let all = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parts("git://github.com/U/R.git?path=a/b#x"), all("https://github.com/U/R", "x", "a/b"));
        assert_eq!(parts("github://github.com/U/R/x/a/b"), all("https://github.com/U/R", "x", "a/b"));
        assert_eq!(parts("git+https://h/R?path=a#x%20y"), all("https://h/R", "x y", "a"));
        assert_eq!(parts("https://h:8/R.git/"), all("https://h:8/R.git", "head", ""));
        assert_eq!(parts("git://localhost:9418/R.git#"), all("git://localhost:9418/R.git", "head", ""));
    }
}
