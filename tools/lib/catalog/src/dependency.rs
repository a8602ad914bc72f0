use crate::{Name, Platform, Source, Version};
use racket_data::Value;
use std::fmt;

/// One element of `dependencies` (in an entry) or of `deps` and `build-deps` (in `info.rkt`).
///
/// Shapes: `"p"`, `("p")`, `("p" "1.0")` (old), `("p" #:version "1.0")`, `("p" #:platform P)`, both keywords in either
/// order. Instead of a name there may be a whole package source; then only the name inferred from it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    pub name: Name,
    /// The source as written, when it is not just the name.
    pub source: Option<String>,
    /// Least version that will do.
    pub version: Option<String>,
    /// What it is limited to: symbol, string or regular expression.
    pub platform: Option<Value>,
}

/// Why an element is no dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDependency {
    /// Neither a string nor a list that starts with one.
    Shape,
    /// No package name can be inferred.
    Name,
    /// Not a valid version.
    Version,
    /// Not `'unix`, `'windows`, `'macosx`, a string or a regular expression.
    Platform,
    /// A keyword other than `#:version` and `#:platform`, one without a value, or one given twice.
    Keyword,
}

impl fmt::Display for BadDependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadDependency::Shape => "neither a string nor a list that starts with one",
            BadDependency::Name => "no package name can be inferred from it",
            BadDependency::Version => "its version is no valid version",
            BadDependency::Platform => "its platform is not unix, windows, macosx, a string or a regexp",
            BadDependency::Keyword => "only #:version and #:platform are allowed, each once and with a value",
        })
    }
}

impl std::error::Error for BadDependency {}

impl Dependency {
    /// Reads one element, strictly as Racket checks `deps` of an `info.rkt`.
    pub fn parse(value: &Value) -> Result<Dependency, BadDependency> {
        let (source, rest): (&str, &[Value]) = match value {
            Value::String(source) => (source, &[]),
            Value::List(items) => match items.split_first() {
                Some((Value::String(source), rest)) => (source, rest),
                _ => return Err(BadDependency::Shape),
            },
            _ => return Err(BadDependency::Shape),
        };
        let (name, source) = if Name::is_valid(source) {
            (Name::new(source).map_err(|_| BadDependency::Name)?, None)
        } else {
            let name = Source::parse(source).ok().and_then(|source| source.name);
            (name.ok_or(BadDependency::Name)?, Some(source.to_owned()))
        };
        let mut dependency = Dependency { name, source, version: None, platform: None };
        match rest {
            [] => {}
            [Value::String(version)] => dependency.version = Some(version.clone()),
            [Value::Keyword(_), ..] => dependency.keywords(rest)?,
            [_] => return Err(BadDependency::Version),
            _ => return Err(BadDependency::Keyword),
        }
        if dependency.version.as_deref().is_some_and(|version| Version::parse(version).is_none()) {
            return Err(BadDependency::Version);
        }
        Ok(dependency)
    }

    fn keywords(&mut self, rest: &[Value]) -> Result<(), BadDependency> {
        for pair in rest.chunks(2) {
            match pair {
                [Value::Keyword(k), Value::String(version)] if k == "version" && self.version.is_none() => {
                    self.version = Some(version.clone());
                }
                [Value::Keyword(k), _] if k == "version" && self.version.is_none() => {
                    return Err(BadDependency::Version);
                }
                [Value::Keyword(k), platform] if k == "platform" && self.platform.is_none() => {
                    let known = match platform {
                        Value::Symbol(system) => matches!(system.as_str(), "unix" | "windows" | "macosx"),
                        Value::String(_) | Value::Regexp { .. } => true,
                        _ => false,
                    };
                    if !known {
                        return Err(BadDependency::Platform);
                    }
                    self.platform = Some(platform.clone());
                }
                _ => return Err(BadDependency::Keyword),
            }
        }
        Ok(())
    }

    /// True when it counts on `platform`.
    pub fn applies(&self, platform: &Platform) -> bool {
        self.platform.as_ref().is_none_or(|spec| platform.matches(spec))
    }

    /// The shape that new Racket tools write: `"p"`, or a list with keywords, version before platform.
    pub fn to_value(&self) -> Value {
        let source = Value::string(self.source.as_deref().unwrap_or(self.name.as_str()));
        if self.version.is_none() && self.platform.is_none() {
            return source;
        }
        let mut items = vec![source];
        if let Some(version) = &self.version {
            items.extend([Value::Keyword("version".into()), Value::string(version)]);
        }
        if let Some(platform) = &self.platform {
            items.extend([Value::Keyword("platform".into()), platform.clone()]);
        }
        Value::List(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[Value]) -> Value {
        Value::List(items.to_vec())
    }
    fn s(text: &str) -> Value {
        Value::string(text)
    }
    fn k(text: &str) -> Value {
        Value::Keyword(text.into())
    }

    #[test]
    fn every_written_shape() {
        let plain = Dependency::parse(&s("a")).unwrap();
        assert_eq!((plain.name.as_str(), &plain.version, &plain.platform), ("a", &None, &None));
        assert_eq!(Dependency::parse(&list(&[s("a")])).unwrap(), plain);
        let versioned = Dependency::parse(&list(&[s("a"), s("1.0")])).unwrap();
        assert_eq!(versioned.version.as_deref(), Some("1.0"));
        assert_eq!(Dependency::parse(&list(&[s("a"), k("version"), s("1.0")])).unwrap(), versioned);
        let both = list(&[s("a"), k("platform"), Value::symbol("unix"), k("version"), s("1.0")]);
        let both = Dependency::parse(&both).unwrap();
        assert_eq!(both.platform, Some(Value::symbol("unix")));
        assert_eq!(Dependency::parse(&both.to_value()).unwrap(), both);
        let source = Dependency::parse(&s("git://github.com/u/r?path=x/y-lib#b")).unwrap();
        assert_eq!(source.name.as_str(), "y-lib");
        assert_eq!(source.to_value(), s("git://github.com/u/r?path=x/y-lib#b"));
    }

    #[test]
    fn what_racket_refuses_is_refused() {
        use BadDependency::*;
        let cases = [
            (Value::symbol("a"), Shape),
            (list(&[]), Shape),
            (s("ftp://h/x"), Name),
            (s(""), Name),
            (list(&[s("a"), s("3")]), Version),
            (list(&[s("a"), k("version"), s("3")]), Version),
            (list(&[s("a"), k("version"), Value::Int(3)]), Version),
            (list(&[s("a"), k("platform"), Value::symbol("bogus")]), Platform),
            (list(&[s("a"), k("platform"), Value::Int(3)]), Platform),
            (list(&[s("a"), k("version")]), Keyword),
            (list(&[s("a"), k("version"), s("1.0"), k("version"), s("1.0")]), Keyword),
            (list(&[s("a"), k("other"), s("1.0")]), Keyword),
            (list(&[s("a"), s("1.0"), s("2.0")]), Keyword),
        ];
        for (value, error) in cases {
            assert_eq!(Dependency::parse(&value), Err(error), "{value:?}");
        }
    }
}
