use crate::url::{decode, encode, file_url, simplify};
use crate::{Entry, Kind, Source};
use racket_data::{Hash, Value};

impl Entry {
    /// Makes relative sources absolute, inside `versions` too, by URL combination with the catalog's own address:
    /// `http://h/cat/` or, for catalogs on disk, the `file://` URL of the directory with a final slash (of the
    /// database file for SQLite). Only sources of the kinds `file` and `dir` that are relative paths change; a bare
    /// word is a package name. True when something changed.
    pub fn make_absolute(&mut self, catalog_url: &str) -> bool {
        self.each_source(&|source| absolute(catalog_url, source))
    }

    /// Makes `file` and `dir` sources relative to the absolute path of a directory, inside `versions` too,
    /// percent-encoded, so that [`Entry::make_absolute`] gives the same place again. Links
    /// (`?type=link`) stay, and so does what a relative form cannot say. True when something changed.
    pub fn make_relative(&mut self, directory: &str) -> bool {
        self.each_source(&|source| relative(directory, source))
    }

    fn each_source(&mut self, change: &dyn Fn(&str) -> Option<String>) -> bool {
        let hash = self.hash_mut();
        let mut changed = change_source(hash, change);
        let versions = hash.items.iter_mut().find(|(key, _)| key.as_symbol() == Some("versions"));
        if let Some((_, Value::Hash(versions))) = versions {
            for (_, version) in &mut versions.items {
                if let Value::Hash(version) = version {
                    changed |= change_source(version, change);
                }
            }
        }
        changed
    }
}

fn change_source(hash: &mut Hash, change: &dyn Fn(&str) -> Option<String>) -> bool {
    match hash.get("source").and_then(Value::as_str).and_then(change) {
        Some(new) => {
            hash.set("source", Value::string(new));
            true
        }
        None => false,
    }
}

fn absolute(catalog_url: &str, source: &str) -> Option<String> {
    // most sources, and quickly seen
    let elsewhere = ["git://", "https://", "http://", "file://", "/"];
    if source.is_empty() || elsewhere.iter().any(|start| source.starts_with(start)) {
        return None;
    }
    let parsed = Source::parse(source).ok()?;
    if !matches!(parsed.kind, Kind::File { .. } | Kind::Dir { .. }) {
        return None;
    }
    // Racket takes the text for a relative URL: %41 is decoded, a query (`?type=static-link`) survives
    let (rest, fragment) = source.split_once('#').map_or((source, None), |(rest, after)| (rest, Some(after)));
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, after)| (path, Some(after)));
    let (scheme, rest) = catalog_url.split_once("://")?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, base) = rest.split_at(slash);
    let base = &base[..base.rfind('/').map_or(0, |at| at + 1)];
    let base = if base.is_empty() { "/" } else { base };
    let path = encode(&decode(path), "/!$&'()*+,;=:@");
    let mut combined = format!("{scheme}://{authority}{}", simplify(&format!("{base}{path}")));
    for (mark, part) in [('?', query), ('#', fragment)] {
        if let Some(part) = part {
            combined.push(mark);
            combined.push_str(part);
        }
    }
    Some(combined)
}

fn relative(directory: &str, source: &str) -> Option<String> {
    let is_dir = match Source::parse(source).ok()?.kind {
        Kind::File { .. } => false,
        Kind::Dir { link: None, .. } => true,
        _ => return None,
    };
    let path = match source.strip_prefix("file://") {
        Some(_) => decode(crate::url::Url::parse(source)?.path),
        None => source.to_owned(),
    };
    if !path.starts_with('/') {
        return None;
    }
    let path = simplify(&path);
    let directory = simplify(&format!("{}/", directory.trim_end_matches('/')));
    let there: Vec<&str> = path.split('/').filter(|element| !element.is_empty()).collect();
    let here: Vec<&str> = directory.split('/').filter(|element| !element.is_empty()).collect();
    // `..` and `.` are no sources: the way to the directory itself is `../catalog`
    let most = there.len().checked_sub(1)?;
    let shared = there.iter().zip(&here).take_while(|(a, b)| a == b).count().min(most);
    let mut elements: Vec<String> = vec!["..".to_owned(); here.len() - shared];
    elements.extend(there[shared..].iter().map(|element| encode(element, "!$&'()*+,;=@")));
    let mut written = elements.join("/");
    // what looks like a name or an archive must still read as a directory
    if is_dir {
        let kind = Source::parse(&written).map(|source| source.kind);
        if !matches!(kind, Ok(Kind::Dir { .. })) {
            written = format!("./{written}/");
        }
    } else if Source::parse(&written).is_ok_and(|source| !matches!(source.kind, Kind::File { .. })) {
        return None;
    }
    // the way back must lead to the same place
    let back = absolute(&file_url(&directory), &written)?;
    let back = decode(back.strip_prefix("file://")?);
    (back.trim_end_matches('/') == path.trim_end_matches('/')).then_some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_as_racket_combines() {
        let http = |source| absolute("http://h/cat/", source);
        assert_eq!(http("../pkgs/x.zip").as_deref(), Some("http://h/pkgs/x.zip"));
        assert_eq!(http("../../../x.zip").as_deref(), Some("http://h/x.zip"));
        assert_eq!(http("./foo").as_deref(), Some("http://h/cat/foo"));
        assert_eq!(http("a%41 b/x.zip").as_deref(), Some("http://h/cat/aA%20b/x.zip"));
        assert_eq!(http("./d?type=static-link").as_deref(), Some("http://h/cat/d?type=static-link"));
        for stays in ["foo", "", "/abs/x.zip", "file:///x", "git://github.com/u/r", "https://h/x.zip"] {
            assert_eq!(http(stays), None, "{stays}");
        }
        assert_eq!(absolute("file:///d/c.sqlite", "../x.zip").as_deref(), Some("file:///x.zip"));
        assert_eq!(absolute("http://h", "a/x.zip").as_deref(), Some("http://h/a/x.zip"));
    }

    #[test]
    fn relative_leads_back() {
        let to = |source| relative("/w/catalog", source);
        assert_eq!(to("/w/pkgs/x.zip").as_deref(), Some("../pkgs/x.zip"));
        assert_eq!(to("file:///w/pkgs/a%20b.zip").as_deref(), Some("../pkgs/a%20b.zip"));
        assert_eq!(to("/w/catalog/sub").as_deref(), Some("./sub/"));
        assert_eq!(to("/w/catalog/sub/two/").as_deref(), Some("sub/two"));
        assert_eq!(to("/w/catalog").as_deref(), Some("../catalog"));
        assert_eq!(to("/w").as_deref(), Some("../../w"));
        assert_eq!(to("/"), None);
        assert_eq!(to("file:///w/pkgs/x.zip?type=dir").as_deref(), Some("./../pkgs/x.zip/"));
        for stays in ["file:///w/d?type=link", "../x.zip", "foo", "https://h/x.zip"] {
            assert_eq!(to(stays), None, "{stays}");
        }
    }
}
