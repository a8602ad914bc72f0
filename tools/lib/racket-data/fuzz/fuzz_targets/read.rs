//! The reader and the printer: no panic, no hang; an error lies inside the text; what is read is written in a form that
//! reads back equal and is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use racket_data::{read, read_all, read_module, write};

fuzz_target!(|text: &[u8]| {
    let _ = (read_all(text), read_module(text));
    match read(text) {
        Ok(None) => {}
        Ok(Some(value)) => {
            let written = write(&value);
            let back = read(written.as_bytes()).expect("what is written reads").expect("it is there");
            assert!(back == value, "{written} reads back as another value");
            assert_eq!(write(&back), written);
        }
        Err(error) => {
            assert!(error.offset <= text.len() && error.line >= 1 && error.column >= 1, "{error:?}");
            let before = &text[..error.offset];
            assert_eq!(error.line, 1 + before.iter().filter(|byte| **byte == b'\n').count());
        }
    }
});
