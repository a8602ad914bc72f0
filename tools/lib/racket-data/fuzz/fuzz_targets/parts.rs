//! A hash read part by part gives what reading it item by item gives, errors and their places included, and (as far as the
//! two say the same) what reading it whole gives. The first byte says how large the parts are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use racket_data::{HashStream, read};

#[path = "../../tests/in_parts/mod.rs"]
mod in_parts;
use in_parts::in_parts;

fuzz_target!(|input: &[u8]| {
    let Some((size, rest)) = input.split_first() else { return };
    let text = [b"#hash(", rest].concat();
    let one_by_one: Vec<String> = HashStream::new(text.as_slice()).map(|item| format!("{item:?}")).collect();
    assert_eq!(in_parts(text.as_slice(), usize::from(*size)), one_by_one);
    // copies (`#0=`, `#9(x)`) are counted for all of a text when it is read whole, and it goes one level deeper
    let copies = text.windows(2).any(|pair| pair[0] == b'#' && pair[1].is_ascii_digit());
    let whole = read(&text);
    if !copies && !whole.as_ref().is_err_and(|error| error.message.contains("nesting is deeper")) {
        let failed = one_by_one.last().is_some_and(|last| last.starts_with("Err"));
        assert_eq!(whole.is_err(), failed, "{one_by_one:?}");
    }
});
