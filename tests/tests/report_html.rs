//! `report-html` as its users see it: the cases in `tests/cases/report-html/`, then what a folder cannot say.

#[test]
fn cases() {
    tests::run_cases("report-html");
}
