//! stdout: data only. JSON documents (pretty on a terminal's behalf is the user's `jq`), or JSON Lines.

use crate::{Exit, Failure, Result};
use std::io::{BufWriter, ErrorKind, Stdout, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

static STDOUT: LazyLock<Mutex<BufWriter<Stdout>>> =
    LazyLock::new(|| Mutex::new(BufWriter::with_capacity(64 * 1024, std::io::stdout())));

/// Writes one JSON object and a newline. Buffered: see [`flush`].
pub fn json_line(document: &impl serde::Serialize) -> Result<()> {
    let mut line =
        serde_json::to_vec(document).map_err(|e| Failure::bug(format!("cannot render JSON: {e}")))?;
    line.push(b'\n');
    bytes(&line)
}

/// Writes one JSON object over several lines, for a document that is the program's whole output.
pub fn json_document(document: &impl serde::Serialize) -> Result<()> {
    let mut text =
        serde_json::to_vec_pretty(document).map_err(|e| Failure::bug(format!("cannot render JSON: {e}")))?;
    text.push(b'\n');
    bytes(&text)
}

/// Writes a line of plain text.
pub fn line(text: &str) -> Result<()> {
    bytes(text.as_bytes())?;
    bytes(b"\n")
}

/// Writes bytes as they are.
pub fn bytes(data: &[u8]) -> Result<()> {
    check(STDOUT.lock().unwrap_or_else(PoisonError::into_inner).write_all(data))
}

/// Hands everything written so far to the reader. `main` does it at the end; servers and streams do it per object.
pub fn flush() -> Result<()> {
    check(STDOUT.lock().unwrap_or_else(PoisonError::into_inner).flush())
}

fn check(result: std::io::Result<()>) -> Result<()> {
    result.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::closed_pipe(),
        _ => Failure::new(Exit::CantCreate, format!("cannot write to stdout: {error}")),
    })
}
