//! `pkg-run-one` as its users see it: the cases in `tests/cases/pkg-run-one/`, then what a folder cannot say.

#[test]
fn cases() {
    tests::run_cases("pkg-run-one");
}
