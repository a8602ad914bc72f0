//! The same stream read by another way, for what compares the two: tests, the fuzz target and the long run of examples/fuzz.

use racket_data::{HashStream, Portion, StreamError};
use std::io::Read;

/// What a hash gives that is read part by part, item by item as text, up to the first error.
pub fn in_parts(source: impl Read, size_bytes: usize) -> Vec<String> {
    let (mut stream, mut items) = (HashStream::new(source), Vec::new());
    while let Some(portion) = stream.next_part(size_bytes) {
        match portion {
            Ok(Portion::Item(item)) => items.push(format!("Ok({item:?})")),
            Ok(Portion::Part(part)) => {
                items.extend(part.items().map(|item| format!("{:?}", item.map_err(StreamError::Read))));
            }
            Err(error) => items.push(format!("Err({error:?})")),
        }
        if items.last().is_some_and(|last| last.starts_with("Err")) {
            break;
        }
    }
    items
}
