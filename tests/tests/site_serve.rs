//! `site-serve` as its users see it: the cases in `tests/cases/site-serve/`, then what a folder cannot say.

#[test]
fn cases() {
    tests::run_cases("site-serve");
}
