//! stderr: messages for people, or the same as one JSON object a line (`--message-format json`).

use crate::{Failure, Manners, MessageFormat};
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

static PROGRAM: OnceLock<&'static str> = OnceLock::new();
static VERBOSE: AtomicU8 = AtomicU8::new(0);
static QUIET: AtomicBool = AtomicBool::new(false);
static JSON: AtomicBool = AtomicBool::new(false);

/// Names the running program for its messages; [`crate::main`] does it.
pub fn set_program(name: &'static str) {
    let _ = PROGRAM.set(name);
}

pub(crate) fn set_manners(manners: &Manners) {
    VERBOSE.store(manners.verbose, Relaxed);
    QUIET.store(manners.quiet, Relaxed);
    JSON.store(manners.message_format == MessageFormat::Json, Relaxed);
}

/// Name of the running program, as messages carry it.
pub fn program() -> &'static str {
    PROGRAM.get().copied().unwrap_or("downstream")
}

/// How often `-v` was given.
pub fn verbosity() -> u8 {
    VERBOSE.load(Relaxed)
}

pub fn is_quiet() -> bool {
    QUIET.load(Relaxed)
}

/// True where a progress bar may be drawn: stderr is a terminal, neither `-q` nor JSON messages.
pub(crate) fn may_draw() -> bool {
    !is_quiet() && !JSON.load(Relaxed) && std::io::stderr().is_terminal()
}

/// A message a person wants to see in a normal run. Silenced by `-q`.
pub fn info(message: impl AsRef<str>) {
    if !is_quiet() {
        emit("info", message.as_ref(), &[], None);
    }
}

/// Detail, shown with `-v`.
pub fn detail(message: impl AsRef<str>) {
    if verbosity() >= 1 {
        emit("detail", message.as_ref(), &[], None);
    }
}

/// Text of several lines for people, as it is: a difference, a plan. Silenced by `-q`.
pub fn text(text: &str) {
    if is_quiet() || text.is_empty() {
        return;
    }
    if JSON.load(Relaxed) {
        return emit("info", text, &[], None);
    }
    crate::progress::suspend(|| {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    });
}

/// Something is not as it should be, but the work goes on. Silenced by `-q`.
pub fn warning(message: impl AsRef<str>, hint: Option<&str>) {
    if !is_quiet() {
        emit("warning", message.as_ref(), &[], hint);
    }
}

/// An error; `-q` does not silence it.
pub fn failure(failure: &Failure) {
    emit_exit("error", &failure.message, &failure.details, failure.hint.as_deref(), Some(failure.exit as u8));
}

fn emit(level: &str, message: &str, details: &[(String, String)], hint: Option<&str>) {
    emit_exit(level, message, details, hint, None);
}

fn emit_exit(level: &str, message: &str, details: &[(String, String)], hint: Option<&str>, exit: Option<u8>) {
    let text = if JSON.load(Relaxed) {
        let details: serde_json::Map<String, serde_json::Value> =
            details.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
        let mut object = serde_json::json!({
            "kind": "message", "v": 1, "level": level, "program": program(), "message": message,
            "details": details, "hint": hint,
        });
        if let Some(exit) = exit {
            object["exit"] = exit.into();
        }
        format!("{object}\n")
    } else {
        let mut text =
            format!("{}: {}{message}\n", program(), if level == "warning" { "warning: " } else { "" });
        for (key, value) in details {
            text.push_str(&format!("  {key}: {}\n", value.replace('\n', "\n    ")));
        }
        if let Some(hint) = hint {
            text.push_str(&format!("  hint: {hint}\n"));
        }
        text
    };
    crate::progress::suspend(|| {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    });
}
