use crate::url::{Url, encode};
use crate::{Entry, Kind, Repository, Source};
use racket_data::{Hash, HashKind, Value};

/// Where sources are to point: a repository and a branch, tag or commit in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    place: Place,
    /// Branch, tag or commit; `None` for the head.
    pub reference: Option<String>,
    /// A path given with the target (`?path=`) replaces that of the old source.
    path: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    GitHub {
        owner: String,
        repo: String,
    },
    /// URL with neither query nor fragment, as a package source wants it.
    Url(String),
}

/// A new source for one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointed {
    pub source: String,
    /// Address for people, as catalog servers keep it in `source_url`.
    pub source_url: String,
}

impl Target {
    /// Reads `OWNER/NAME[?path=P][#REFERENCE]` (on github.com) or `URL[?path=P][#REFERENCE]`. The error says what is
    /// wrong and what to write.
    pub fn parse(text: &str) -> Result<Target, String> {
        let (place, fragment) =
            text.split_once('#').map_or((text, None), |(place, after)| (place, Some(after)));
        let reference = fragment.filter(|fragment| !fragment.is_empty()).map(str::to_owned);
        let bare = place.split('?').next().unwrap_or_default();
        if !bare.contains("://") {
            let address = https_address(bare).ok_or("expected OWNER/NAME#BRANCH or URL#BRANCH")?;
            let address = address.strip_suffix(".git").unwrap_or(&address);
            let query = place.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
            return Target::from_source(&format!("{address}.git{query}"), reference);
        }
        if bare.starts_with("ssh://") || bare.starts_with("git+ssh://") {
            return Err(
                "ssh is no transport of Racket packages: write https://HOST/PATH.git#BRANCH".to_owned()
            );
        }
        // a repository whose address does not end in .git needs a scheme that says what it is
        let source = match Source::parse(place).map_err(|bad| bad.reason)?.kind {
            Kind::DirUrl { url } if url.starts_with("http") => format!("git+{url}"),
            _ => place.to_owned(),
        };
        Target::from_source(&source, reference)
    }

    fn from_source(source: &str, reference: Option<String>) -> Result<Target, String> {
        let parsed = Source::parse(source).map_err(|bad| bad.reason)?;
        let (place, path, in_source) = match parsed.kind {
            Kind::GitHub { owner, repo, reference, path } => (Place::GitHub { owner, repo }, path, reference),
            Kind::Git { path, .. } => {
                let plain = source.split('?').next().unwrap_or(source);
                let github =
                    plain.strip_prefix("https://github.com/").and_then(|path| path.strip_suffix(".git"));
                let place = match github.and_then(|path| path.split_once('/')) {
                    Some((owner, repo)) => Place::GitHub { owner: owner.to_owned(), repo: repo.to_owned() },
                    None => Place::Url(plain.to_owned()),
                };
                (place, path, None)
            }
            _ => return Err("not a git repository: write OWNER/NAME#BRANCH or URL#BRANCH".to_owned()),
        };
        let path = Some(path).filter(|path| !path.is_empty());
        Ok(Target { place, reference: reference.or(in_source), path })
    }

    /// What `git` is to be asked.
    pub fn git_url(&self) -> String {
        match &self.place {
            Place::GitHub { owner, repo } => format!("https://github.com/{owner}/{repo}"),
            Place::Url(url) => url.strip_prefix("git+").unwrap_or(url).to_owned(),
        }
    }

    /// The source that takes the place of `old`: the same package (path) in the target, written the way `old` was
    /// written where that way can say it.
    pub fn point(&self, old: &str) -> Pointed {
        let old_source = Source::parse(old).ok();
        let old_path = old_source.as_ref().map(Source::subdirectory).unwrap_or_default();
        let path = self.path.as_deref().unwrap_or(old_path);
        let query = match path {
            [] => String::new(),
            _ => {
                format!("?path={}", path.iter().map(|e| encode(e, "!$'()*,:@")).collect::<Vec<_>>().join("/"))
            }
        };
        let fragment = match &self.reference {
            Some(reference) => format!("#{}", encode(reference, "/!$&'()*+,;=:@")),
            None => String::new(),
        };
        let Place::GitHub { owner, repo } = &self.place else {
            let Place::Url(url) = &self.place else { unreachable!("two kinds of places") };
            let source = format!("{url}{query}{fragment}");
            return Pointed { source_url: source.clone(), source };
        };
        let branch = self.reference.as_deref().unwrap_or("HEAD");
        let mut source_url = format!("https://github.com/{owner}/{repo}/tree/{}", encode(branch, "/"));
        for element in path {
            source_url.push('/');
            source_url.push_str(&encode(element, ""));
        }
        let from_github = old_source.as_ref().is_some_and(|source| {
            matches!(source.repository(), Some(Repository::Remote { host, .. }) if host == "github.com")
                && source.git_url().is_some()
        });
        let scheme = Url::parse(old).map(|url| url.scheme).filter(|_| from_github).unwrap_or("https");
        let source = match (scheme, &self.reference) {
            ("github", Some(branch)) if !branch.contains('/') => {
                let mut source = format!("github://github.com/{owner}/{repo}/{}", encode(branch, ""));
                for element in path {
                    source.push('/');
                    source.push_str(&encode(element, ""));
                }
                source
            }
            ("git" | "github", _) => format!("git://github.com/{owner}/{repo}{query}{fragment}"),
            _ => format!("{scheme}://github.com/{owner}/{repo}.git{query}{fragment}"),
        };
        Pointed { source, source_url }
    }
}

/// `OWNER/NAME`, `HOST.TLD/OWNER/NAME` and `git@HOST:PATH` as an https address.
fn https_address(text: &str) -> Option<String> {
    Repository::parse(text).filter(|repository| matches!(repository, Repository::Remote { .. }))?;
    if let Some((host, path)) = text.split_once(':') {
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        return Some(format!("https://{host}/{}", path.trim_matches('/')));
    }
    match text.split('/').count() {
        2 => Some(format!("https://github.com/{text}")),
        _ => Some(format!("https://{}", text.trim_end_matches('/'))),
    }
}

impl Entry {
    /// Points the entry at another source, as a catalog server does after an author's edit: `source`, `checksum`, the
    /// same two in the `default` version where there are versions (and `source_url` where it is kept), and
    /// no `checksum-error` from before. Nothing else changes.
    pub fn point_to(&mut self, pointed: &Pointed, checksum: &str) {
        let hash = self.hash_mut();
        set_source(hash, pointed, checksum);
        if hash.get("checksum-error").is_some() {
            hash.set("checksum-error", Value::Bool(false));
        }
        let versions = hash.items.iter_mut().find(|(key, _)| key.as_symbol() == Some("versions"));
        if let Some((_, Value::Hash(versions))) = versions {
            let inner_kind =
                versions.items.iter().find_map(|(_, v)| v.as_hash()).map_or(HashKind::Eq, |hash| hash.kind);
            let default = versions.items.iter_mut().find(|(key, _)| key.as_symbol() == Some("default"));
            if let Some((_, Value::Hash(default))) = default {
                set_source(default, pointed, checksum);
            } else {
                let mut default = Hash::new(inner_kind);
                set_source(&mut default, pointed, checksum);
                versions.set("default", Value::Hash(default));
            }
        }
    }

    /// [`Entry::point_to`], and the versions that have a source or checksum of their own too.
    pub fn point_every_version_to(&mut self, pointed: &Pointed, checksum: &str) {
        self.point_to(pointed, checksum);
        let versions = self.hash_mut().items.iter_mut().find(|(key, _)| key.as_symbol() == Some("versions"));
        if let Some((_, Value::Hash(versions))) = versions {
            for (_, version) in &mut versions.items {
                if let Value::Hash(version) = version
                    && (version.get("source").is_some() || version.get("checksum").is_some())
                {
                    set_source(version, pointed, checksum);
                }
            }
        }
    }
}

fn set_source(hash: &mut Hash, pointed: &Pointed, checksum: &str) {
    hash.set("source", Value::string(&pointed.source));
    hash.set("checksum", Value::string(checksum));
    if hash.get("source_url").is_some() {
        hash.set("source_url", Value::string(&pointed.source_url));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(target: &str, old: &str) -> String {
        Target::parse(target).unwrap_or_else(|e| panic!("{target}: {e}")).point(old).source
    }

    #[test]
    fn the_way_of_writing_is_kept() {
        let to = "me/fork#fix/it";
        assert_eq!(point(to, "git://github.com/U/R"), "git://github.com/me/fork#fix/it");
        assert_eq!(point(to, "git://github.com/U/R?path=a/b#m"), "git://github.com/me/fork?path=a/b#fix/it");
        assert_eq!(
            point(to, "https://github.com/U/R.git?path=a"),
            "https://github.com/me/fork.git?path=a#fix/it"
        );
        assert_eq!(point(to, "git+https://github.com/U/R"), "git+https://github.com/me/fork.git#fix/it");
        assert_eq!(point(to, "github://github.com/U/R/m/a"), "git://github.com/me/fork?path=a#fix/it");
        assert_eq!(point("me/fork#b", "github://github.com/U/R/m/a"), "github://github.com/me/fork/b/a");
        assert_eq!(point("me/fork", "github://github.com/U/R/m/a"), "git://github.com/me/fork?path=a");
        assert_eq!(
            point("me/fork#b", "https://github.com/U/R/archive/m.zip"),
            "https://github.com/me/fork.git#b"
        );
        assert_eq!(
            point("me/fork#b", "https://gitlab.com/U/R.git?path=x"),
            "https://github.com/me/fork.git?path=x#b"
        );
        assert_eq!(
            point("me/fork?path=new#b", "git://github.com/U/R?path=x"),
            "git://github.com/me/fork?path=new#b"
        );
    }

    #[test]
    fn other_hosts() {
        let old = "git://github.com/U/R?path=a";
        assert_eq!(point("http://127.0.0.1:8080/r.git#b", old), "http://127.0.0.1:8080/r.git?path=a#b");
        assert_eq!(point("https://gitlab.com/x/y#b", old), "git+https://gitlab.com/x/y?path=a#b");
        assert_eq!(point("gitlab.com/x/y#b", old), "https://gitlab.com/x/y.git?path=a#b");
        assert_eq!(point("git@gitlab.com:x/y.git#b", old), "https://gitlab.com/x/y.git?path=a#b");
        assert_eq!(point("git://localhost:9418/y#b", old), "git://localhost:9418/y?path=a#b");
        assert_eq!(Target::parse("https://gitlab.com/x/y#b").unwrap().git_url(), "https://gitlab.com/x/y");
        for bad in
            ["foo", "", "ssh://git@h/x", "ftp://h/x", "https://h/x.zip#b", "/dir", "./dir", "file:///x"]
        {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_result_is_the_same_package_in_the_target() {
        let target = Target::parse("Me/Fork#b").unwrap();
        for old in [
            "git://github.com/U/R?path=a/b%20c",
            "github://github.com/U/R/m/a/b%20c/",
            "https://h/R.git?path=a/b%20c",
        ] {
            let new = Source::parse(&target.point(old).source).unwrap();
            assert_eq!(new.subdirectory(), ["a", "b c"], "{old}");
            assert_eq!(new.reference(), Some("b"));
            assert_eq!(new.git_url().unwrap().trim_end_matches(".git"), "https://github.com/Me/Fork");
        }
    }

    #[test]
    fn default_changes_other_versions_only_when_told() {
        let entry = |text: &str| crate::read_entry(text.as_bytes()).unwrap();
        let pointed = Pointed { source: "new".into(), source_url: "url".into() };
        let old = r#"#hash((source . "old") (checksum . "1") (tags . ())
            (versions . #hash((default . #hash((source . "old") (source_url . "x"))) ("6.0" . #hash((checksum . "2"))) ("7.0" . #hash((why . 1))))))"#;
        let mut one = entry(old);
        one.point_to(&pointed, "c");
        let expected = r#"#hash((source . "new") (checksum . "c") (tags . ())
            (versions . #hash((default . #hash((source . "new") (checksum . "c") (source_url . "url"))) ("6.0" . #hash((checksum . "2"))) ("7.0" . #hash((why . 1))))))"#;
        assert_eq!(one, entry(expected));
        let mut all = entry(old);
        all.point_every_version_to(&pointed, "c");
        let six = r#"("6.0" . #hash((source . "new") (checksum . "c")))"#;
        assert_eq!(all, entry(&expected.replace(r#"("6.0" . #hash((checksum . "2")))"#, six)));

        let mut without = entry(r#"#hasheq((source . "old") (checksum-error . "no"))"#);
        without.point_to(&pointed, "c");
        assert_eq!(without, entry(r#"#hasheq((source . "new") (checksum . "c") (checksum-error . #f))"#));
        let mut odd = entry(r#"#hash((versions . #hash(("6.0" . #hasheq()))))"#);
        odd.point_to(&pointed, "c");
        assert_eq!(
            odd,
            entry(
                r#"#hash((source . "new") (checksum . "c") (versions . #hash(("6.0" . #hasheq()) (default . #hasheq((source . "new") (checksum . "c"))))))"#
            )
        );
    }
}
