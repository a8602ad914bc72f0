//! Everything about a result: counting tests, the document, the files.

pub mod output;
pub mod record;
pub mod test_counts;
