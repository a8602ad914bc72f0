use regex::Regex;
use std::sync::LazyLock;

/// A telling line without what differs from package to package and from run to run, so that failures with one cause say the
/// same: positions and files (`FILE`), other paths (`PATH`), addresses, generated names, numbers (`N`), the package's own name
/// (`PACKAGE`).
pub fn normalise(message: &str, package: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rule = |pattern: &str, with| Regex::new(pattern).ok().map(|pattern| (pattern, with));
        [
            // file with position, in any directory, also as <collects>/… or <pkgs>/…
            rule(r"(?:<[a-z]+>)?[\w./+@~-]*\.(?:rkt|rktl|rktd|rkti|ss|scm|scrbl|zo|dep|py|rs|js|ts|rb|c|h|go|hs|ml|jl|R)(?:[:.]\d+(?:[:.]\d+)?)?\b", "FILE"),
            rule(r"(?:<[a-z]+>|~|\.{1,2})?(?:/[\w.+@~-]+){2,}/?", "PATH"),
            rule(r"\b0x[0-9a-fA-F]+\b", "ADDRESS"),
            rule(r"\b[0-9a-f]{32,64}\b", "HASH"),
            rule(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z?", "TIME"),
            // gensyms: g1234, temp12, x.17, id_4/1
            rule(r"\b([A-Za-z][A-Za-z_-]*?)[._/]?\d+(?:[./]\d+)*\b", "${1}N"),
            rule(r"\d+(?:\.\d+)?", "N"),
            rule(r"\s+", " "),
        ]
        .into_iter()
        .flatten()
        .collect()
    });
    let mut text = message.trim().to_owned();
    if package.len() >= 3 {
        text = replace_word(&text, package, "PACKAGE");
    }
    for (pattern, with) in RULES.iter() {
        if let std::borrow::Cow::Owned(new) = pattern.replace_all(&text, *with) {
            text = new;
        }
    }
    // `FILE: what happened`: where is said elsewhere
    while let Some(rest) = text.strip_prefix("FILE:").or_else(|| text.strip_prefix("FILE ")) {
        text = rest.trim_start_matches([':', ' ']).to_owned();
    }
    text.truncate(text.char_indices().nth(300).map_or(text.len(), |(at, _)| at));
    text.trim().to_owned()
}

/// True when a normalised message says more than that something failed: two packages that say it fail of one cause.
pub fn is_specific(message: &str) -> bool {
    const GENERIC: [&str; 40] = [
        "file", "path", "package", "address", "hash", "time", "test", "tests", "failure", "failures",
        "failed", "fail", "error", "errors", "non", "zero", "exit", "status", "code", "empty", "stderr",
        "check", "equal", "actual", "expected", "raco", "setup", "the", "and", "timeout", "after", "seconds",
        "killed", "limit", "during", "making", "for", "pkgs", "summary", "found",
    ];
    message
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| word.len() >= 3)
        .any(|word| !GENERIC.contains(&word.to_lowercase().as_str()))
}

/// Replaces `word` where no letter, digit, `-` or `_` touches it.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let joins = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let before = rest[..at].chars().next_back().or_else(|| result.chars().next_back());
        let after = rest[at + word.len()..].chars().next();
        result.push_str(&rest[..at]);
        let free = !before.is_some_and(joins) && !after.is_some_and(joins);
        result.push_str(if free { with } else { word });
        rest = &rest[at + word.len()..];
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_with_one_cause_say_the_same() {
        let same = [
            ("/home/u/pkgs/pict-lib/pict/main.rkt:12:3: foo: unbound identifier", "pict-lib"),
            ("<pkgs>/slideshow-lib/base.rkt:1211:30: foo: unbound identifier", "slideshow-lib"),
            ("main.rkt:7:0: foo: unbound identifier", "x"),
        ];
        for (message, package) in same {
            assert_eq!(normalise(message, package), "foo: unbound identifier");
        }
        assert_eq!(normalise("#<procedure:g123> at 0xdeadBEEF", ""), "#<procedure:gN> at ADDRESS");
        assert_eq!(normalise("killed after 901.25 s", ""), "killed after N s");
        assert_eq!(
            normalise("cannot open module file /a/b/c for gui-lib and gui-lib-doc", "gui-lib"),
            "cannot open module file PATH for PACKAGE and gui-lib-doc"
        );
        assert_eq!(normalise("tmp16a: unbound", ""), "tmp16a: unbound".replace("16", "N"));
    }

    #[test]
    fn some_messages_say_nothing() {
        assert!(!is_specific("N/N test failures"));
        assert!(!is_specific("killed after N s: time limit"));
        assert!(!is_specific("raco setup: error: during making for <pkgs>/PACKAGE"));
        assert!(is_specific("draw-spline: unbound identifier"));
    }

    #[test]
    fn nothing_grows_or_panics() {
        for text in ["", "é", &"ü9/".repeat(500), "FILE: FILE: x", "\u{202e}a.rkt:1:1:"] {
            assert!(normalise(text, "é").chars().count() <= 300);
        }
    }
}
