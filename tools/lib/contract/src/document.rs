use serde::de::DeserializeOwned;
use std::fmt;

/// A type that is one JSON document (or one line) of the suite.
pub trait Document: DeserializeOwned {
    /// The value of its `kind` field.
    const KIND: &'static str;
}

/// Why a text is not the document that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum DocumentError {
    /// Not JSON, or not of the document's shape: message with line and column.
    Json(String),
    /// Another `kind`.
    Kind { expected: &'static str, found: String },
    /// A `v` this program does not know.
    Version { kind: &'static str, found: String },
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DocumentError::Json(message) => f.write_str(message),
            DocumentError::Kind { expected, found } => {
                write!(f, "expected kind \"{expected}\", found {found}")
            }
            DocumentError::Version { kind, found } => {
                write!(f, "unknown version {found} of kind \"{kind}\" (this program knows {})", crate::V)
            }
        }
    }
}

impl std::error::Error for DocumentError {}

/// Reads one document; `kind` and `v` are checked before anything else.
pub fn read<D: Document>(text: &[u8]) -> Result<D, DocumentError> {
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(default)]
        kind: serde_json::Value,
        #[serde(default)]
        v: serde_json::Value,
    }
    let head: Head = serde_json::from_slice(text).map_err(|e| DocumentError::Json(e.to_string()))?;
    if head.kind.as_str() != Some(D::KIND) {
        return Err(DocumentError::Kind { expected: D::KIND, found: head.kind.to_string() });
    }
    if head.v.as_u64() != Some(u64::from(crate::V)) {
        return Err(DocumentError::Version { kind: D::KIND, found: head.v.to_string() });
    }
    serde_json::from_slice(text).map_err(|e| DocumentError::Json(e.to_string()))
}

/// Reads JSON Lines: the documents, or the first error with its line number (from 1). Blank lines are skipped.
pub fn read_lines<D: Document>(text: &[u8]) -> Result<Vec<D>, (usize, DocumentError)> {
    text.split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace))
        .map(|(at, line)| read(line).map_err(|error| (at + 1, error)))
        .collect()
}
