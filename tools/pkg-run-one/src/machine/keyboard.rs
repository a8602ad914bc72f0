//! For the person at the keyboard: a shell in the very machine, in the package's directory, with the environment of the
//! phase.

use crate::config::Keyboard;
use crate::machine::script::{Places, prelude, quote};
use crate::machine::stage::StageSeen;
use crate::machine::testbed::Opened;
use contract::recipe::{Recipe, Stage};
use edge::{Context, Exit, Result};
use std::io::IsTerminal;

/// What a visit wants of a stage.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Visit {
    /// The shell is opened after what there is to do in this stage.
    pub wanted: bool,
    /// The stage is not run at all.
    pub before_stage: bool,
    /// Where the stage is told to stop (DOWNSTREAM_STOP): `before:PHASE` or `after:PHASE`.
    pub stop: Option<String>,
}

pub fn visit(keyboard: &Keyboard, stage: &Stage) -> Visit {
    let (phase, before) = match keyboard {
        Keyboard::ShellBefore(phase) => (phase, true),
        Keyboard::ShellAfter(phase) => (phase, false),
        Keyboard::Nobody | Keyboard::ShellOnFailure => return Visit::default(),
    };
    match stage.phases.iter().position(|name| name == phase) {
        None => Visit::default(),
        Some(0) if before => Visit { wanted: true, before_stage: true, stop: None },
        Some(at) if !before && at + 1 == stage.phases.len() => Visit { wanted: true, ..Visit::default() },
        Some(_) => {
            let stop = format!("{}:{phase}", if before { "before" } else { "after" });
            Visit { wanted: true, before_stage: false, stop: Some(stop) }
        }
    }
}

/// Opens a shell and waits until the person leaves it.
pub fn shell(opened: &Opened, recipe: &Recipe, places: &Places, seen: &StageSeen) -> Result<()> {
    let dir =
        seen.marks.iter().rev().find_map(|mark| mark.dir.clone()).unwrap_or_else(|| places.work.clone());
    let mut script = prelude(recipe, places);
    script.push_str(&format!("cd {} 2>/dev/null\n", quote(&dir)));
    script.push_str("if command -v bash >/dev/null; then exec bash");
    if std::io::stdin().is_terminal() {
        script.push_str(" -i; else exec sh -i; fi\n");
        edge::say::info(format!("a shell in {}: leave it with exit", opened.testbed.id));
    } else {
        script.push_str(" -s; else exec sh -s; fi\n");
    }
    let mut argv = vec!["sh".to_owned(), "-c".to_owned(), script];
    // a terminal inside: what is typed, Ctrl-C too, is then for the shell and not for this program
    if std::io::stdin().is_terminal() && opened.testbed.capabilities.iter().any(|can| can == "exec-options") {
        let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
        argv.splice(0..0, ["--tty".to_owned(), "--env".to_owned(), format!("TERM={term}"), "--".to_owned()]);
    }
    opened
        .command(&argv.iter().map(String::as_str).collect::<Vec<_>>())
        .status()
        .context(Exit::Unavailable, || "cannot open a shell".to_owned())
        .map(|_| ())
}
