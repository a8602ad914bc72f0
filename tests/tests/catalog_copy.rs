//! `catalog-copy` as its users see it: the cases in `tests/cases/catalog-copy/`, then what a folder cannot say.

#[test]
fn cases() {
    tests::run_cases("catalog-copy");
}
