//! Units of work for several workers: in order, but for hosts that are busy enough already. Work may bring more work.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub struct Queue<U> {
    state: Mutex<State<U>>,
    changed: Condvar,
    per_host: usize,
}

#[derive(Debug)]
struct State<U> {
    ready: VecDeque<(U, Option<String>)>,
    /// Units that are being worked on; each may still bring more.
    active: usize,
    hosts: HashMap<String, usize>,
    closed: bool,
}

/// The right to work on a unit; given back when dropped, also by a worker that panics, so that none waits for it.
#[derive(Debug)]
pub struct Permit<'a, U> {
    queue: &'a Queue<U>,
    host: Option<String>,
}

impl<U> Queue<U> {
    /// Units with the host that each will talk to.
    pub fn new(units: impl IntoIterator<Item = (U, Option<String>)>, per_host: usize) -> Queue<U> {
        let state =
            State { ready: units.into_iter().collect(), active: 0, hosts: HashMap::new(), closed: false };
        Queue { state: Mutex::new(state), changed: Condvar::new(), per_host: per_host.max(1) }
    }

    fn state(&self) -> MutexGuard<'_, State<U>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next unit, as soon as there is one whose host is free; `None` when nothing will come any more.
    pub fn take(&self) -> Option<(U, Permit<'_, U>)> {
        let mut state = self.state();
        loop {
            if state.closed || state.ready.is_empty() && state.active == 0 {
                return None;
            }
            let State { ready, hosts, .. } = &*state;
            let free = ready.iter().position(|(_, host)| {
                host.as_ref().is_none_or(|host| hosts.get(host).copied().unwrap_or(0) < self.per_host)
            });
            if let Some((unit, host)) = free.and_then(|at| state.ready.remove(at)) {
                if let Some(host) = &host {
                    *state.hosts.entry(host.clone()).or_default() += 1;
                }
                state.active += 1;
                return Some((unit, Permit { queue: self, host }));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts work in front of all other: what is half done is finished first.
    pub fn put_first(&self, units: Vec<U>) {
        let mut state = self.state();
        for unit in units.into_iter().rev() {
            state.ready.push_front((unit, None));
        }
        self.changed.notify_all();
    }

    /// Nothing is handed out any more.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

impl<U> Drop for Permit<'_, U> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        if let Some(active) = self.host.as_ref().and_then(|host| state.hosts.get_mut(host)) {
            *active -= 1;
        }
        state.active -= 1;
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    #[test]
    fn all_work_is_done_and_no_host_is_asked_too_often() {
        let host = |n: usize| Some(format!("h{}", n % 3)).filter(|host| host != "h0");
        let queue = Queue::new((0..90).map(|n| (n, host(n))), 2);
        let (done, now, most) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some((n, permit)) = queue.take() {
                        if n % 3 == 1 && n < 1000 {
                            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                            std::thread::sleep(Duration::from_millis(1));
                            now.fetch_sub(1, SeqCst);
                            queue.put_first(vec![1000 + n]);
                        }
                        drop(permit);
                        done.fetch_add(1, SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.load(SeqCst), 120);
        assert_eq!(most.load(SeqCst), 2);
    }

    #[test]
    fn a_worker_that_panics_holds_nobody_up() {
        let queue = Queue::new((0..20).map(|n| (n, Some("h".to_owned()))), 1);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while let Some((n, _permit)) = queue.take() {
                            assert!(n != 5, "expected in this test");
                        }
                    });
                }
            });
        }));
        assert!(outcome.is_err());
        assert!(queue.take().is_none());
    }
}
