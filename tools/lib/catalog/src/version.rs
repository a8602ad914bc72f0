use std::fmt;

/// A Racket version: `major.minor[.sub[.release]]`, as `valid-version?` has it: minor at most two digits, sub and
/// release at most three, no leading zeros, and neither a trailing sub nor a trailing release of 0 (`6.0.0.1` is one,
/// `3`, `6.01` and `1.2.0` are not). Compared by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u32; 4]);

impl Version {
    pub fn parse(text: &str) -> Option<Version> {
        let parts: Vec<&str> = text.split('.').collect();
        if !(2..=4).contains(&parts.len()) || (parts.len() > 2 && parts.last() == Some(&"0")) {
            return None;
        }
        let mut numbers = [0; 4];
        for (at, part) in parts.iter().enumerate() {
            let most_digits = [9, 2, 3, 3][at];
            let plain = part.bytes().all(|b| b.is_ascii_digit()) && (*part == "0" || !part.starts_with('0'));
            if part.is_empty() || part.len() > most_digits || !plain {
                return None;
            }
            numbers[at] = part.parse().ok()?;
        }
        Some(Version(numbers))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, sub, release] = self.0;
        write!(f, "{major}.{minor}")?;
        if sub > 0 || release > 0 {
            write!(f, ".{sub}")?;
        }
        if release > 0 {
            write!(f, ".{release}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_valid_version_has_it() {
        for good in ["0.0", "1.0", "6.0.0.1", "8.7", "99.0", "6.90.0.19", "1.0.1", "10.99.999.999", "0.10"] {
            assert_eq!(Version::parse(good).expect(good).to_string(), good);
        }
        for bad in [
            "",
            "3",
            "6.01",
            "1.2.0",
            "1.0.0",
            "a.b",
            "1.",
            ".1",
            "1.2.3.4.5",
            "1.100",
            "1.2.1000",
            "01.2",
            "1.2.03",
            "-1.2",
            "1.2.3.0",
        ] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
        assert!(Version::parse("6.10") > Version::parse("6.9"));
        assert!(Version::parse("6.0.0.1") > Version::parse("6.0"));
    }
}
