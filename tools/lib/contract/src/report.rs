//! `kind: "report"`: the model that the pages are made from (`report.json`).
