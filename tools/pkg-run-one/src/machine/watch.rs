//! The limits that this program watches itself: time, silence, size of the log. (Memory, disk and processes are the
//! machine's to enforce; its counters tell.) Pure: the clock and the counters are handed in.

use contract::limits::LimitSet;
use contract::testbed::Usage;

/// Share of a processor below which a machine counts as idle: timers of a waiting runtime use less, and so does a script
/// that looks every second whether it may go on, even in user-mode Linux, where that takes 0.035.
const IDLE_CPU_SHARE: f64 = 0.05;
/// Bytes read or written between two samples that count as activity.
const IDLE_IO_BYTES: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    Time,
    Silence,
    Log,
}

/// One phase under watch. Seconds are of any clock that does not go back.
#[derive(Debug)]
pub struct Watch {
    limits: LimitSet,
    started_s: f64,
    active_s: f64,
    bytes: u64,
    last: Option<(f64, f64, u64)>,
}

impl Watch {
    pub fn new(limits: LimitSet, now_s: f64) -> Watch {
        Watch { limits, started_s: now_s, active_s: now_s, bytes: 0, last: None }
    }

    pub fn printed(&mut self, bytes: u64, now_s: f64) {
        self.bytes += bytes;
        self.active_s = now_s;
    }

    /// A look at the counters of the machine.
    pub fn sampled(&mut self, usage: &Usage, now_s: f64) {
        let (Some(cpu_s), io_bytes) = (usage.cpu_s, usage.io_bytes.unwrap_or(0)) else { return };
        if let Some((then_s, cpu_then_s, io_then)) = self.last {
            let busy = cpu_s - cpu_then_s > IDLE_CPU_SHARE * (now_s - then_s)
                || io_bytes.saturating_sub(io_then) >= IDLE_IO_BYTES;
            if busy {
                self.active_s = now_s;
            }
        }
        self.last = Some((now_s, cpu_s, io_bytes));
    }

    /// The limit that is passed now. Silence is only judged where the counters could be read: without them a machine
    /// that computes quietly would look like one that sleeps.
    pub fn breach(&self, now_s: f64) -> Option<Breach> {
        let over =
            |limit: Option<u64>, value: f64| limit.is_some_and(|limit| limit > 0 && value > limit as f64);
        if over(self.limits.log_mb, self.bytes as f64 / (1024.0 * 1024.0)) {
            Some(Breach::Log)
        } else if over(self.limits.time_s, now_s - self.started_s) {
            Some(Breach::Time)
        } else if self.last.is_some() && over(self.limits.silence_s, now_s - self.active_s) {
            Some(Breach::Silence)
        } else {
            None
        }
    }

    /// How often to look: often enough to tell each limit within a quarter of it.
    pub fn interval_s(limits: &LimitSet) -> f64 {
        let least = [limits.time_s, limits.silence_s]
            .into_iter()
            .flatten()
            .filter(|limit| *limit > 0)
            .min()
            .unwrap_or(8);
        (least as f64 / 4.0).clamp(0.25, 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> LimitSet {
        LimitSet { time_s: Some(100), silence_s: Some(10), log_mb: Some(1), ..LimitSet::default() }
    }
    fn usage(cpu_s: f64, io_bytes: u64) -> Usage {
        Usage { cpu_s: Some(cpu_s), io_bytes: Some(io_bytes), ..Usage::default() }
    }

    #[test]
    fn time_is_over_whatever_happens() {
        let mut watch = Watch::new(limits(), 5.0);
        watch.printed(1, 104.0);
        assert_eq!(watch.breach(105.0), None);
        assert_eq!(watch.breach(105.1), Some(Breach::Time));
    }

    #[test]
    fn asleep_is_silent_and_computing_is_not() {
        let (mut asleep, mut computing, mut writing) =
            (Watch::new(limits(), 0.0), Watch::new(limits(), 0.0), Watch::new(limits(), 0.0));
        for second in 0..12 {
            let now_s = f64::from(second);
            asleep.sampled(&usage(1.0 + 0.002 * now_s, 0), now_s);
            computing.sampled(&usage(0.9 * now_s, 0), now_s);
            writing.sampled(&usage(0.0, 100_000 * second as u64), now_s);
        }
        assert_eq!(asleep.breach(11.0), Some(Breach::Silence));
        assert_eq!(computing.breach(11.0), None);
        assert_eq!(writing.breach(11.0), None);
    }

    #[test]
    fn output_breaks_the_silence() {
        let mut watch = Watch::new(limits(), 0.0);
        watch.sampled(&usage(0.0, 0), 1.0);
        watch.printed(1, 9.0);
        assert_eq!(watch.breach(18.0), None);
        assert_eq!(watch.breach(19.5), Some(Breach::Silence));
    }

    #[test]
    fn without_counters_silence_is_not_judged() {
        assert_eq!(Watch::new(limits(), 0.0).breach(50.0), None);
    }

    #[test]
    fn a_flood_is_told_before_the_time() {
        let mut watch = Watch::new(limits(), 0.0);
        watch.printed(1024 * 1024 + 1, 0.0);
        assert_eq!(watch.breach(1000.0), Some(Breach::Log));
    }

    #[test]
    fn zero_is_no_limit() {
        let none = LimitSet { time_s: Some(0), silence_s: Some(0), log_mb: Some(0), ..LimitSet::default() };
        let mut watch = Watch::new(none, 0.0);
        watch.sampled(&usage(0.0, 0), 0.0);
        watch.printed(u64::MAX / 2, 0.0);
        assert_eq!(watch.breach(1e9), None);
    }
}
