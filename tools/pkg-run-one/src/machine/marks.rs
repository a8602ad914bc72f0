//! Marks: how the command of a stage says which phase it is in (see `contract::recipe::Stage`). They are taken out of
//! the output; the rest is log.

use contract::run::{Adds, Doc, Finding};
use serde::Deserialize;

/// Longest line that is looked at as a whole; what is longer is log and no mark.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// One mark. Fields that a mark does not have are absent; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct Mark {
    pub begin: Option<String>,
    pub end: Option<String>,
    pub exit_code: Option<i32>,
    #[serde(default)]
    pub done: bool,
    pub version: Option<String>,
    pub package: Option<String>,
    pub dir: Option<String>,
    pub adds: Option<Adds>,
    pub docs: Option<Vec<Doc>>,
    pub file: Option<String>,
    #[serde(default)]
    pub salvage: bool,
    pub finding: Option<Finding>,
    pub trouble: Option<String>,
    /// It stopped before or after this phase, as DOWNSTREAM_STOP told it.
    pub stopped: Option<String>,
}

#[derive(Debug, PartialEq)]
pub enum Piece {
    Log(Vec<u8>),
    Mark(Box<Mark>),
}

/// Cuts a stream of output into log and marks.
#[derive(Debug)]
pub struct Splitter {
    /// `@downstream 5f3c…`, with a space after it.
    word: Vec<u8>,
    line: Vec<u8>,
    /// The line is too long to be a mark: it is passed on as it comes.
    long: bool,
    /// A line of log that is only there because a mark starts with a newline.
    held_newline: bool,
}

impl Splitter {
    pub fn new(word: &str) -> Splitter {
        Splitter { word: format!("{word} ").into_bytes(), line: Vec::new(), long: false, held_newline: false }
    }

    pub fn push(&mut self, data: &[u8], mut each: impl FnMut(Piece)) {
        // log is passed on in large pieces: a flood of short lines must not cost more than its bytes
        let mut log = Vec::with_capacity(data.len());
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if std::mem::take(&mut self.long) {
                    log.extend_from_slice(&line);
                } else {
                    self.whole_line(&line, &mut log, &mut each);
                }
            } else if self.line.len() > MAX_LINE_BYTES || self.long {
                self.long = true;
                self.release(&mut log);
                log.append(&mut self.line);
            }
        }
        pass_on(&mut log, &mut each);
    }

    /// What is left when the stream ends.
    pub fn finish(mut self, mut each: impl FnMut(Piece)) {
        let mut log = Vec::new();
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.whole_line(&line, &mut log, &mut each);
        }
        self.release(&mut log);
        pass_on(&mut log, &mut each);
    }

    fn release(&mut self, log: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_newline) {
            log.push(b'\n');
        }
    }

    fn whole_line(&mut self, line: &[u8], log: &mut Vec<u8>, each: &mut impl FnMut(Piece)) {
        // a package may have printed the start of a line before the mark came
        let at = find(line, &self.word);
        let parsed = at.and_then(|at| serde_json::from_slice::<Mark>(&line[at + self.word.len()..]).ok());
        match (at, parsed) {
            (Some(at), Some(mark)) => {
                self.held_newline = false;
                if at > 0 {
                    log.extend_from_slice(&line[..at]);
                    log.push(b'\n');
                }
                pass_on(log, each);
                each(Piece::Mark(Box::new(mark)));
            }
            _ if line == b"\n" => {
                self.release(log);
                self.held_newline = true;
            }
            _ => {
                self.release(log);
                log.extend_from_slice(line);
            }
        }
    }
}

fn pass_on(log: &mut Vec<u8>, each: &mut impl FnMut(Piece)) {
    if !log.is_empty() {
        each(Piece::Log(std::mem::take(log)));
    }
}

fn find(line: &[u8], word: &[u8]) -> Option<usize> {
    let last = line.len().checked_sub(word.len())?;
    (0..=last).find(|at| line[*at] == word[0] && line[*at..].starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&str]) -> (String, Vec<Mark>) {
        let (mut log, mut marks) = (Vec::new(), Vec::new());
        let mut each = |piece: Piece| match piece {
            Piece::Log(text) => log.extend(text),
            Piece::Mark(mark) => marks.push(*mark),
        };
        let mut splitter = Splitter::new("@downstream 1");
        chunks.iter().for_each(|chunk| splitter.push(chunk.as_bytes(), &mut each));
        splitter.finish(&mut each);
        (String::from_utf8(log).unwrap(), marks)
    }

    #[test]
    fn marks_are_taken_out_however_the_stream_is_cut() {
        let text = "a\n\n@downstream 1 {\"begin\": \"x\"}\nb\n\nc\npartial@downstream 1 {\"end\":\"x\",\"exit_code\":3}\nend";
        let whole = split(&[text]);
        assert_eq!(whole.0, "a\nb\n\nc\npartial\nend");
        assert_eq!(whole.1.len(), 2);
        assert_eq!(whole.1[0].begin.as_deref(), Some("x"));
        assert_eq!(whole.1[1].exit_code, Some(3));
        for at in 1..text.len() {
            assert_eq!(split(&[&text[..at], &text[at..]]), whole, "cut at {at}");
        }
    }

    #[test]
    fn what_a_package_prints_is_no_mark() {
        let (log, marks) = split(&[
            "@downstream {\"done\": true}\n@downstream 2 {\"done\": true}\n@downstream 1 nonsense\n",
        ]);
        assert!(marks.is_empty());
        assert!(log.contains("nonsense"));
    }

    #[test]
    fn an_endless_line_is_passed_on() {
        let chunk = "x".repeat(1 << 20);
        let (log, marks) =
            split(&[&chunk, &chunk, &chunk, &chunk, &chunk, &chunk, "\n@downstream 1 {\"done\":true}\n"]);
        assert_eq!(log.len(), 6 * (1 << 20) + 1);
        assert_eq!(marks.len(), 1);
    }
}
