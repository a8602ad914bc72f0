//! `catalog-edit` as its users see it: the cases in `tests/cases/catalog-edit/`, then what a folder cannot say.

#[test]
fn cases() {
    tests::run_cases("catalog-edit");
}
