use crate::model::facts::SideFacts;
use contract::report::Progress;
use contract::run::Outcome;

/// How far a run is. What the old side is yet to run cannot be known for sure: where it runs beside the new one it is to run
/// everything, else what fails on the new side.
pub fn progress(new: &SideFacts, old: Option<&SideFacts>) -> Progress {
    let missing = |side: &SideFacts, name: &&str| !side.states.contains_key(*name);
    let new_left = new.expected().filter(|name| missing(new, name)).count();
    let beside = new_left > 0 && old.is_some_and(|old| !old.states.is_empty());
    let fails = |name: &&str| new.states.get(*name).is_some_and(|facts| facts.state.outcome != Outcome::Pass);
    let old_left = old
        .map_or(0, |old| old.expected().filter(|name| missing(old, name) && (beside || fails(name))).count());
    let left = (new_left + old_left) as u64;
    Progress {
        done: (new.states.len() + old.map_or(0, |old| old.states.len())) as u64,
        left,
        failing: new.states.values().filter(|facts| facts.state.outcome != Outcome::Pass).count() as u64,
        left_s: between_starts_s(new, old).map(|seconds| (seconds * left as f64).round()),
    }
}

/// Seconds from one start to the next, on the average. Between two starts there is never more than the longest run, unless
/// nothing was running: a break does not count.
fn between_starts_s(new: &SideFacts, old: Option<&SideFacts>) -> Option<f64> {
    let sums = || [Some(new), old].into_iter().flatten().map(|side| &side.sum);
    let longest = sums().map(|sum| sum.longest_s).fold(0.0, f64::max);
    let mut starts: Vec<f64> = sums().flat_map(|sum| sum.starts_s.iter().copied()).collect();
    starts.sort_by(f64::total_cmp);
    let gaps = starts.windows(2).map(|pair| (pair[1] - pair[0]).min(longest));
    (starts.len() > 1).then(|| gaps.sum::<f64>() / (starts.len() - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_does_not_count() {
        let mut side = SideFacts::default();
        assert_eq!(between_starts_s(&side, None), None);
        side.sum.longest_s = 30.0;
        side.sum.starts_s = vec![100_000.0, 0.0, 10.0, 20.0, 100_010.0];
        assert_eq!(between_starts_s(&side, None), Some((10.0 + 10.0 + 30.0 + 10.0) / 4.0));
        assert_eq!(progress(&side, None).left_s, Some(0.0));
    }
}
