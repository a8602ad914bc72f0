use racket_data::Value;
use regex::bytes::Regex;

/// What `#:platform` is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `(system-type)`: `unix`, `windows` or `macosx`.
    pub system: String,
    /// `(system-library-subpath #f)`: `x86_64-linux`, `win32\x86_64`.
    pub subpath: String,
}

impl Platform {
    /// True when a dependency limited to `spec` counts on this platform: a symbol names the system, a string is
    /// the whole library subpath, a regular expression is searched in it. Something else is no platform and never
    /// counts; a regular expression that this program cannot run (look-around, back references) counts.
    pub fn matches(&self, spec: &Value) -> bool {
        match spec {
            Value::Symbol(system) => *system == self.system,
            Value::String(subpath) => *subpath == self.subpath,
            Value::Regexp { px, pattern, .. } => match compile(*px, pattern) {
                Some(regex) => regex.is_match(self.subpath.as_bytes()),
                None => true,
            },
            _ => false,
        }
    }
}

/// Racket's regular expressions in the syntax of the regex crate, as far as they have the same power.
fn compile(px: bool, pattern: &[u8]) -> Option<Regex> {
    let pattern = std::str::from_utf8(pattern).ok()?;
    let mut translated = String::with_capacity(pattern.len() + 8);
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // in rx syntax a backslash always quotes, and braces stand for themselves
            '\\' if !px => translated.push_str(&regex::escape(&letters.next()?.to_string())),
            '\\' => {
                translated.push('\\');
                translated.push(letters.next()?);
            }
            '{' | '}' if !px => {
                translated.push('\\');
                translated.push(letter);
            }
            _ => translated.push(letter),
        }
    }
    // `.` matches a newline in Racket
    regex::bytes::RegexBuilder::new(&translated).dot_matches_new_line(true).size_limit(1 << 20).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rx(pattern: &str) -> Value {
        Value::Regexp { px: false, bytes: false, pattern: pattern.into() }
    }

    #[test]
    fn symbol_is_system_string_is_whole_subpath_regexp_searches() {
        let linux = Platform { system: "unix".into(), subpath: "x86_64-linux".into() };
        assert!(linux.matches(&Value::symbol("unix")));
        assert!(!linux.matches(&Value::symbol("windows")));
        assert!(linux.matches(&Value::string("x86_64-linux")));
        assert!(!linux.matches(&Value::string("linux")));
        assert!(!linux.matches(&Value::string("unix")));
        assert!(linux.matches(&rx("linux")));
        assert!(linux.matches(&rx("^x86\\_64")));
        assert!(!linux.matches(&rx("^linux")));
        assert!(!linux.matches(&rx("x{2}")));
        assert!(linux.matches(&rx("(?!y)linux")), "cannot be run here, so it counts");
        assert!(!linux.matches(&Value::Int(1)));
    }
}
