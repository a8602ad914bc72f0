//! `vm-snapshot` as its users see it: the cases in `tests/cases/vm-snapshot/`, then what a folder cannot say.

#[test]
fn cases() {
    tests::run_cases("vm-snapshot");
}
