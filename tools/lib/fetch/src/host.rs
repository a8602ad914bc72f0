//! Manners towards one host: so many requests at a time, patience when it asks for it, and none at all once it
//! has stopped answering.

use crate::error::{Class, Phase, Trouble};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Pause before a host that was given up is asked once again; doubles up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// A host that answers, but only with 5xx or 429, is given up after this many times as many failures.
const SICK_FACTOR: u32 = 5;

pub(crate) struct Hosts {
    per_host: usize,
    give_up_after: u32,
    known: Mutex<HashMap<String, Arc<Host>>>,
}

#[derive(Default)]
struct Host {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    active: usize,
    /// Attempts in a row without any answer.
    silent: u32,
    /// Attempts in a row that were answered only with 5xx or 429.
    sick: u32,
    given_up: Option<GivenUp>,
    /// The host asked (Retry-After) to be left alone until then.
    not_before: Option<Instant>,
}

struct GivenUp {
    last: Trouble,
    failures: u32,
    rest: Duration,
    until: Instant,
}

impl Host {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosts {
    pub fn new(per_host: usize, give_up_after: u32) -> Hosts {
        Hosts { per_host: per_host.max(1), give_up_after: give_up_after.max(1), known: Mutex::default() }
    }

    /// Waits for a place; refused at once when the host was given up. The permit is held while the answer is read.
    pub fn enter(&self, name: &str, deadline: Option<Instant>) -> Result<Permit, Trouble> {
        let host = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(name.to_owned()).or_default().clone()
        };
        let entered = Instant::now();
        let mut state = host.state();
        loop {
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Trouble::TimedOut { phase: Phase::Total, after: now - entered });
            }
            if let Some(given_up) = &mut state.given_up {
                if now < given_up.until {
                    return Err(Trouble::HostGivenUp {
                        host: name.to_owned(),
                        failures: given_up.failures,
                        last: Box::new(given_up.last.clone()),
                    });
                }
                // one probe; everybody else keeps being refused until it is known how that went
                given_up.until = now + given_up.rest;
                break;
            }
            let rest = state.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            if rest.is_zero() && state.active < self.per_host {
                break;
            }
            let wait = if rest.is_zero() { Duration::from_secs(1) } else { rest };
            let wait = deadline.map_or(wait, |deadline| wait.min(deadline.saturating_duration_since(now)));
            state = host.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.active += 1;
        drop(state);
        Ok(Permit { host, give_up_after: self.give_up_after })
    }
}

/// A place at a host; given back when dropped.
pub(crate) struct Permit {
    host: Arc<Host>,
    give_up_after: u32,
}

impl Permit {
    /// The host answered with something: it lives.
    pub fn answered(&self) {
        let mut state = self.host.state();
        state.silent = 0;
        state.sick = 0;
        state.given_up = None;
    }

    /// The attempt failed. `pause` is what the host asked for (Retry-After).
    pub fn failed(&self, trouble: &Trouble, pause: Option<Duration>) {
        let mut state = self.host.state();
        let (failures, limit) = match trouble.class() {
            Class::Unreachable => {
                state.silent += 1;
                (state.silent, self.give_up_after)
            }
            Class::Busy => {
                state.silent = 0;
                state.sick += 1;
                (state.sick, self.give_up_after * SICK_FACTOR)
            }
            _ => {
                state.silent = 0;
                return;
            }
        };
        if let Some(pause) = pause {
            let until = Instant::now() + pause;
            state.not_before = Some(state.not_before.map_or(until, |known| known.max(until)));
        }
        if failures >= limit {
            let rest = state.given_up.as_ref().map_or(FIRST_REST, |g| (g.rest * 2).min(LONGEST_REST));
            let until = Instant::now() + rest;
            state.given_up = Some(GivenUp { last: trouble.clone(), failures, rest, until });
        }
        drop(state);
        self.host.changed.notify_all();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.host.state().active -= 1;
        self.host.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Trouble {
        Trouble::ConnectionRefused { host: "h:80".into() }
    }

    #[test]
    fn a_silent_host_is_given_up_and_an_answer_forgives() {
        let hosts = Hosts::new(2, 3);
        for _ in 0..2 {
            hosts.enter("h", None).unwrap().failed(&refused(), None);
        }
        hosts.enter("h", None).unwrap().answered();
        for _ in 0..3 {
            hosts.enter("h", None).unwrap().failed(&refused(), None);
        }
        let error = hosts.enter("h", None).err().expect("given up");
        assert_eq!(error.class(), Class::Unreachable);
        assert!(error.to_string().contains("failed 3 times in a row, last: connection refused"), "{error}");
        hosts.enter("other", None).unwrap();
    }

    #[test]
    fn no_more_than_so_many_at_a_time() {
        let hosts = Arc::new(Hosts::new(3, 3));
        let (active, most) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let (hosts, active, most) = (hosts.clone(), active.clone(), most.clone());
                std::thread::spawn(move || {
                    let _permit = hosts.enter("h", None).unwrap();
                    let now = {
                        let mut active = active.lock().unwrap();
                        *active += 1;
                        *active
                    };
                    let mut most = most.lock().unwrap();
                    *most = now.max(*most);
                    drop(most);
                    std::thread::sleep(Duration::from_millis(2));
                    *active.lock().unwrap() -= 1;
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(*most.lock().unwrap() <= 3);
    }

    #[test]
    fn waiting_for_a_place_ends_at_the_deadline() {
        let hosts = Hosts::new(1, 3);
        let _held = hosts.enter("h", None).unwrap();
        let error = hosts.enter("h", Some(Instant::now() + Duration::from_millis(20))).err().unwrap();
        assert!(matches!(error, Trouble::TimedOut { phase: Phase::Total, .. }));
    }
}
