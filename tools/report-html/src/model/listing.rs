use crate::args::What;
use crate::model::verdict::times;
use contract::report::{Entry, Report, Trend, Verdict};
use contract::run::Outcome;

/// The names that `--list` prints, sorted; for `groups` in the order of the groups.
pub fn names(report: &Report, what: What, confirm: u32) -> Vec<&str> {
    if what == What::Groups {
        return report.groups.iter().map(|group| group.example.as_str()).collect();
    }
    let wanted = report.packages.iter().filter(|entry| is(entry, what, confirm));
    wanted.map(|entry| entry.package.as_str()).collect()
}

fn is(entry: &Entry, what: What, confirm: u32) -> bool {
    let fails = entry.new.as_ref().is_some_and(|state| state.outcome != Outcome::Pass);
    match what {
        What::All => true,
        What::Verdict(verdict) => entry.verdict == verdict,
        What::Worse => entry.verdict == Verdict::StillFailing && entry.trend == Some(Trend::Worse),
        What::Better => entry.verdict == Verdict::StillFailing && entry.trend == Some(Trend::Better),
        What::Broken => fails,
        What::NeedsOld => fails && entry.old.is_none() && entry.verdict == Verdict::Pending,
        What::Unconfirmed => {
            let differs = matches!(
                entry.verdict,
                Verdict::Regressed | Verdict::Fixed | Verdict::Indeterminate | Verdict::Flaky
            );
            let seen = |state: &Option<contract::report::State>| state.as_ref().map_or(0, times);
            // what follows from a dependency, or was never tried, is confirmed there
            let tried = |state: &Option<contract::report::State>| {
                state
                    .as_ref()
                    .is_some_and(|s| !matches!(s.outcome, Outcome::ArchiveFail | Outcome::DependencyFail))
            };
            differs
                && tried(&entry.old)
                && tried(&entry.new)
                && (seen(&entry.old) < confirm || seen(&entry.new) < confirm)
        }
        What::Groups => false,
    }
}
