use contract::report::Side;
use contract::run::{PhaseStatus, Run};
use std::collections::{BTreeMap, BTreeSet};

/// What is summed up over the runs of a side while they are read.
#[derive(Debug, Default)]
pub struct Sum {
    /// All that the report says of the side; who counts its packages fills in the rest.
    pub side: Side,
    /// When each run began, in seconds, and the longest of them: what an estimate rests on.
    pub starts_s: Vec<f64>,
    pub longest_s: f64,
}

impl Sum {
    /// Counts a run in; gives the index of its limits. A cycle's run counts once: for its first package.
    pub fn add(&mut self, run: &Run, counted: bool) -> Option<usize> {
        let side = &mut self.side;
        insert(&mut side.catalog_ids, &run.catalog_id);
        insert(&mut side.image_ids, &run.image_id);
        insert(&mut side.versions, &run.version);
        insert(&mut side.recipes, &run.recipe);
        if !run.started.is_empty() && (side.first.is_empty() || run.started < side.first) {
            side.first.clone_from(&run.started);
        }
        if run.started > side.last {
            side.last.clone_from(&run.started);
        }
        if counted {
            let seconds = run.wall_s.max(0.0);
            side.wall_s += seconds;
            self.longest_s = self.longest_s.max(seconds);
            if let Ok(start) = run.started.parse::<jiff::Timestamp>() {
                self.starts_s.push(start.as_millisecond() as f64 / 1000.0);
            }
            for phase in run.phases.iter().filter(|phase| phase.status != PhaseStatus::NotRun) {
                let seconds = phase.wall_s.max(0.0);
                match side.phases_s.get_mut(&phase.phase) {
                    Some(sum) => *sum += seconds,
                    None => drop(side.phases_s.insert(phase.phase.clone(), seconds)),
                }
                match side.machines.get_mut(&phase.machine) {
                    Some(times) => *times += 1,
                    None => drop(side.machines.insert(phase.machine.clone(), 1)),
                }
            }
        }
        (!run.limits.is_empty()).then(|| place(side, &run.limits))
    }

    /// Joins what two threads counted; gives the new place of each of `other`'s limits.
    pub fn merge(&mut self, mut other: Sum) -> Vec<usize> {
        let (side, from) = (&mut self.side, other.side);
        side.catalog_ids.extend(from.catalog_ids);
        side.image_ids.extend(from.image_ids);
        side.versions.extend(from.versions);
        side.recipes.extend(from.recipes);
        if side.first.is_empty() || (!from.first.is_empty() && from.first < side.first) {
            side.first = from.first;
        }
        side.last = std::mem::take(&mut side.last).max(from.last);
        side.wall_s += from.wall_s;
        for (phase, seconds) in from.phases_s {
            *side.phases_s.entry(phase).or_default() += seconds;
        }
        for (machine, times) in from.machines {
            *side.machines.entry(machine).or_default() += times;
        }
        self.starts_s.append(&mut other.starts_s);
        self.longest_s = self.longest_s.max(other.longest_s);
        from.limits.iter().map(|limits| place(side, limits)).collect()
    }
}

/// Where these limits stand among those of the side.
fn place(side: &mut Side, limits: &BTreeMap<String, u64>) -> usize {
    side.limits.iter().position(|known| known == limits).unwrap_or_else(|| {
        side.limits.push(limits.clone());
        side.limits.len() - 1
    })
}

fn insert(set: &mut BTreeSet<String>, value: &str) {
    if !value.is_empty() && !set.contains(value) {
        set.insert(value.to_owned());
    }
}
