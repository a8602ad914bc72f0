//! `pkg-archive` as its users see it: the cases in `tests/cases/pkg-archive/`, then what a folder cannot say.

#[test]
fn cases() {
    tests::run_cases("pkg-archive");
}
