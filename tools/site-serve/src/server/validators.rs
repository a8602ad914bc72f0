//! Conditional requests, RFC 9110 section 13: is what the client has still right?

use std::time::{Duration, SystemTime};

/// A file changed so recently that a second change might not show in its date.
const UNSETTLED: Duration = Duration::from_secs(2);

/// What identifies the present content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// Without quotes; the compressed form has `-gz` appended.
    tag: String,
    weak: bool,
    /// Whole seconds, as HTTP dates are.
    modified: SystemTime,
}

/// What the conditions of a request amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Send,
    NotModified,
    Failed,
}

impl Validators {
    /// `modified` as the file system says, `identity` what changes when the file is replaced (device, inode).
    pub fn new(modified: SystemTime, size: u64, identity: (u64, u64), now: SystemTime) -> Validators {
        let age = now.duration_since(modified);
        let since_epoch = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // a date in the future would make every answer look older than it is
        let shown = if age.is_ok() {
            since_epoch
        } else {
            now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
        };
        Validators {
            tag: format!(
                "{:x}-{size:x}-{:x}",
                since_epoch.as_nanos(),
                identity.1 ^ identity.0.rotate_left(32)
            ),
            weak: !age.is_ok_and(|age| age >= UNSETTLED),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(shown.as_secs()),
        }
    }

    pub fn etag(&self, compressed: bool) -> String {
        format!(
            "{}\"{}{}\"",
            if self.weak { "W/" } else { "" },
            self.tag,
            if compressed { "-gz" } else { "" }
        )
    }

    pub fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }

    /// Evaluates If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since, in this order.
    pub fn condition<'a>(&self, header: impl Fn(&str) -> Option<&'a str>) -> Condition {
        let date = |name: &str| header(name).and_then(|value| httpdate::parse_http_date(value).ok());
        if let Some(tags) = header("if-match") {
            if !self.is_among(tags, false) {
                return Condition::Failed;
            }
        } else if date("if-unmodified-since").is_some_and(|date| self.modified > date) {
            return Condition::Failed;
        }
        let known = match header("if-none-match") {
            Some(tags) => self.is_among(tags, true),
            None => date("if-modified-since").is_some_and(|date| self.modified <= date),
        };
        if known { Condition::NotModified } else { Condition::Send }
    }

    /// `If-Range`: the part may be sent only when the client's first part is of this very content.
    pub fn allows_range(&self, if_range: Option<&str>) -> bool {
        match if_range.map(str::trim) {
            None => true,
            Some(tag) if tag.starts_with('"') => !self.weak && tag == self.etag(false),
            Some(date) => {
                !self.weak && httpdate::parse_http_date(date).is_ok_and(|date| date == self.modified)
            }
        }
    }

    /// Either form's tag counts: they stand for the same content.
    fn is_among(&self, tags: &str, weakly: bool) -> bool {
        tags.trim() == "*"
            || tags.split(',').map(str::trim).any(|tag| {
                let (bare, weak) = match tag.strip_prefix("W/") {
                    Some(bare) => (bare, true),
                    None => (tag, false),
                };
                let bare = bare.trim_matches('"');
                let same = bare == self.tag || bare.strip_suffix("-gz") == Some(&self.tag);
                same && (weakly || !(weak || self.weak))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn file() -> Validators {
        Validators::new(at(1_000_000) + Duration::from_millis(5), 10, (1, 2), at(2_000_000))
    }

    fn condition(headers: &[(&'static str, &str)]) -> Condition {
        let headers: Vec<(&str, String)> = headers.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        file().condition(|name| headers.iter().find(|(k, _)| *k == name).map(|(_, v)| v.as_str()))
    }

    #[test]
    fn a_known_tag_or_date_is_not_sent_again() {
        let (tag, packed) = (file().etag(false), file().etag(true));
        assert_ne!(tag, packed);
        for known in [tag.clone(), packed, format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            assert_eq!(condition(&[("if-none-match", &known)]), Condition::NotModified, "{known}");
        }
        assert_eq!(condition(&[("if-none-match", "\"x\"")]), Condition::Send);
        let date = file().last_modified();
        assert_eq!(condition(&[("if-modified-since", &date)]), Condition::NotModified);
        assert_eq!(
            condition(&[("if-modified-since", &httpdate::fmt_http_date(at(999_999)))]),
            Condition::Send
        );
        assert_eq!(condition(&[("if-modified-since", "yesterday")]), Condition::Send);
        // a tag says more than a date
        assert_eq!(condition(&[("if-none-match", "\"x\""), ("if-modified-since", &date)]), Condition::Send);
        assert_eq!(condition(&[("if-match", "\"x\"")]), Condition::Failed);
        assert_eq!(condition(&[("if-match", &tag)]), Condition::Send);
        assert_eq!(condition(&[("if-unmodified-since", &httpdate::fmt_http_date(at(5)))]), Condition::Failed);
        assert_eq!(condition(&[]), Condition::Send);
    }

    #[test]
    fn parts_are_of_the_same_content() {
        let file = file();
        assert!(file.allows_range(None));
        assert!(file.allows_range(Some(&file.etag(false))));
        assert!(file.allows_range(Some(&file.last_modified())));
        assert!(!file.allows_range(Some("\"x\"")));
        assert!(!file.allows_range(Some(&file.etag(true))));
        let fresh = Validators::new(at(1_000), 10, (1, 2), at(1_001));
        assert!(fresh.etag(false).starts_with("W/"));
        assert!(!fresh.allows_range(Some(&fresh.last_modified())));
    }

    #[test]
    fn any_change_changes_the_tag() {
        let base = Validators::new(at(1_000), 10, (1, 2), at(9_000)).etag(false);
        assert_ne!(base, Validators::new(at(1_001), 10, (1, 2), at(9_000)).etag(false));
        assert_ne!(base, Validators::new(at(1_000), 11, (1, 2), at(9_000)).etag(false));
        assert_ne!(base, Validators::new(at(1_000), 10, (1, 3), at(9_000)).etag(false));
    }
}
