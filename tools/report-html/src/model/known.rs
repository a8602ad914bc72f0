use contract::report::{Entry, KnownFailure, Note};
use contract::run::Outcome;

/// Marks the failures that an entry in force covers, and tells what is wrong with the list. `newest` is the instant of the
/// latest run: an entry holds to the end of the day it expires on.
pub fn apply(entries: &mut [Entry], known: &[KnownFailure], newest: &str) -> Vec<Note> {
    let today = newest.get(..10).unwrap_or("");
    let mut notes = Vec::new();
    let mut note = |code: &str, message: String| notes.push(Note { code: code.to_owned(), message });
    for failure in known {
        let name = &failure.package;
        let owner = if failure.owner.is_empty() { "nobody" } else { &failure.owner };
        let Ok(at) = entries.binary_search_by(|entry| entry.package.cmp(name)) else {
            note(
                "known-unknown",
                format!("the known failure of {name} ({owner}) is about no package of this run"),
            );
            continue;
        };
        let entry = &mut entries[at];
        let Some(state) = &entry.new else { continue };
        if state.outcome == Outcome::Pass {
            note(
                "known-passes",
                format!("{name} passes: its known failure ({owner}: {}) can be struck off", failure.reason),
            );
        } else if !failure.expires.is_empty() && failure.expires.as_str() < today {
            note(
                "known-expired",
                format!(
                    "the known failure of {name} ({owner}: {}) has expired on {}",
                    failure.reason, failure.expires
                ),
            );
        } else if failure.outcome.is_none_or(|outcome| outcome == state.outcome) {
            entry.known = Some(failure.clone());
        } else {
            note(
                "known-differs",
                format!(
                    "{name} fails otherwise than its known failure ({owner}) says: {}",
                    crate::model::facts::outcome_name(state.outcome)
                ),
            );
        }
    }
    notes
}
