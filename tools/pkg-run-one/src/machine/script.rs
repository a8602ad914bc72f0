//! From the data of a stage to the shell script that does it: environment, files of the recipe, command. One script on
//! stdin means one command in the machine for a stage, and nothing asked of the machine but `sh`.

use contract::recipe::{Recipe, Stage};
use contract::testbed::Testbed;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the placeholders stand for in one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    pub packages: Vec<String>,
    pub archive: String,
    pub built: String,
    pub work: String,
    pub files: String,
    pub out: String,
    pub jobs: String,
    pub mark: String,
    pub modes: Modes,
}

/// What the stages are told of how they are to work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modes {
    /// Which time this is, from 1, when a run is repeated.
    pub observation: u32,
    /// Dependencies without a built form are to be put up with.
    pub try_anyway: bool,
    /// Built forms are to run on every machine.
    pub compile_any: bool,
}

impl Places {
    /// `word` is new for every run: it makes marks unforgeable by accident.
    pub fn of(testbed: &Testbed, packages: &[String], jobs: u32, word: &str, modes: Modes) -> Places {
        let share = |name: &str| {
            let mounted =
                testbed.mounts.iter().find(|mount| mount.name == name).map(|mount| mount.guest.clone());
            mounted.unwrap_or_else(|| match &testbed.host_url {
                Some(url) => format!("{}/{name}", url.trim_end_matches('/')),
                None => format!("/share/{name}"),
            })
        };
        let work = format!("{}/downstream", testbed.work_dir.trim_end_matches('/'));
        Places {
            packages: packages.to_vec(),
            archive: share("archive"),
            built: share("built"),
            files: format!("{work}/files"),
            out: format!("{work}/out"),
            work,
            jobs: jobs.to_string(),
            mark: word.to_owned(),
            modes,
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            "package" => self.packages.first().cloned().unwrap_or_default(),
            "packages" => self.packages.join(" "),
            "archive" => self.archive.clone(),
            "built" => self.built.clone(),
            "work" => self.work.clone(),
            "files" => self.files.clone(),
            "out" => self.out.clone(),
            "jobs" => self.jobs.clone(),
            "mark" => self.mark.clone(),
            _ => return None,
        })
    }

    /// Replaces the placeholders of a text.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            filled.push_str(&rest[..open]);
            rest = &rest[open..];
            match rest.find('}').and_then(|close| Some((self.value(&rest[1..close])?, close))) {
                Some((value, close)) => {
                    filled.push_str(&value);
                    rest = &rest[close + 1..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled + rest
    }

    /// The argv of a stage: `{packages}` alone becomes one argument each.
    pub fn argv(&self, stage: &Stage) -> Vec<String> {
        stage
            .run
            .iter()
            .flat_map(|word| if word == "{packages}" { self.packages.clone() } else { vec![self.fill(word)] })
            .collect()
    }

    pub fn env(&self, recipe: &Recipe) -> BTreeMap<String, String> {
        let mut env: BTreeMap<String, String> =
            recipe.env.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect();
        env.insert("DOWNSTREAM_MARK".to_owned(), self.mark.clone());
        env.insert("DOWNSTREAM_OBSERVATION".to_owned(), self.modes.observation.to_string());
        for (name, wanted) in [
            ("DOWNSTREAM_TRY_ANYWAY", self.modes.try_anyway),
            ("DOWNSTREAM_COMPILE_ANY", self.modes.compile_any),
        ] {
            if wanted {
                env.insert(name.to_owned(), "1".to_owned());
            }
        }
        env
    }
}

/// A word for the shell.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Environment and directories: the part of the script that a shell for a person shares with a stage.
pub fn prelude(recipe: &Recipe, places: &Places) -> String {
    let fail = {
        let mark = format!("{} {{\"trouble\": \"cannot write into the machine\"}}", places.mark);
        format!("|| {{ echo {}; exit 125; }}", quote(&mark))
    };
    let mut script = String::new();
    for (name, value) in places.env(recipe) {
        let _ = writeln!(script, "export {name}={}", quote(&value));
    }
    let dirs = [
        &places.work,
        &places.files,
        &places.out,
        &format!("{}/tmp", places.work),
        &format!("{}/user", places.work),
    ];
    let _ = writeln!(script, "mkdir -p {} {fail}", dirs.map(|dir| quote(dir)).join(" "));
    for (name, text) in &recipe.files {
        let path = format!("{}/{name}", places.files);
        if let Some((dir, _)) = name.rsplit_once('/') {
            let _ = writeln!(script, "mkdir -p {} {fail}", quote(&format!("{}/{dir}", places.files)));
        }
        let _ = writeln!(script, "cat > {} <<'{END}' {fail}", quote(&path));
        script.push_str(text);
        if !text.ends_with('\n') {
            script.push('\n');
        }
        let _ = writeln!(script, "{END}");
    }
    let _ = writeln!(script, "cd {} {fail}", quote(&places.work));
    script
}

const END: &str = "END_OF_DOWNSTREAM_FILE";

/// The whole script of a stage, for `sh -s`.
pub fn script(recipe: &Recipe, stage: &Stage, places: &Places, stop: Option<&str>) -> String {
    // one stream: the way out of a machine may carry two apart, and then what was printed before a mark comes after it
    let mut script = format!("exec 2>&1\n{}", prelude(recipe, places));
    if let Some(stop) = stop {
        let _ = writeln!(script, "export DOWNSTREAM_STOP={}", quote(stop));
    }
    let argv: Vec<String> = places.argv(stage).iter().map(|word| quote(word)).collect();
    let _ = writeln!(script, "exec {} </dev/null", argv.join(" "));
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            packages: vec!["a".into(), "b".into()],
            archive: "/share/archive".into(),
            built: "http://h:1/built".into(),
            work: "/w".into(),
            files: "/w/files".into(),
            out: "/w/out".into(),
            jobs: "1".into(),
            mark: "@m 1".into(),
            modes: Modes { observation: 1, try_anyway: false, compile_any: false },
        }
    }

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        let filled = places().fill("{work}/x {nothing} {packages} {{archive}} }{ {");
        assert_eq!(filled, "/w/x {nothing} a b {/share/archive} }{ {");
    }

    #[test]
    fn packages_alone_become_arguments() {
        let stage = Stage {
            name: "s".into(),
            phases: vec!["p".into()],
            run: vec!["x".into(), "{packages}".into(), "-{package}".into()],
            marks: false,
            fails_as: BTreeMap::new(),
            evidence: BTreeMap::new(),
            past: BTreeMap::new(),
        };
        assert_eq!(places().argv(&stage), ["x", "a", "b", "-a"]);
    }

    #[test]
    fn the_shell_sees_the_words_that_were_meant() {
        for word in ["", "plain", "it's", "$(touch x)", "a b", "\"", "*", "new\nline", "\\"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
