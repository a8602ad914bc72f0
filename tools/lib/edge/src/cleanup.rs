//! What must be undone when the program stops, however it stops (kill -9 apart).

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Action = Box<dyn FnOnce() + Send>;
static ACTIONS: Mutex<(u64, BTreeMap<u64, Action>)> = Mutex::new((0, BTreeMap::new()));

fn actions() -> MutexGuard<'static, (u64, BTreeMap<u64, Action>)> {
    ACTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds an action that runs when this is dropped, when the program ends, or on SIGINT, SIGTERM or SIGHUP:
/// whichever comes first, and once. [`Cleanup::forget`] takes it back.
#[derive(Debug)]
#[must_use = "the action runs when this is dropped"]
pub struct Cleanup(u64);

/// Registers an action; later ones run first.
pub fn on_exit(action: impl FnOnce() + Send + 'static) -> Cleanup {
    let mut actions = actions();
    actions.0 += 1;
    let id = actions.0;
    actions.1.insert(id, Box::new(action));
    Cleanup(id)
}

impl Cleanup {
    /// The thing to be undone has become permanent: nothing is to be done any more.
    pub fn forget(self) {
        actions().1.remove(&self.0);
        std::mem::forget(self);
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let action = actions().1.remove(&self.0);
        if let Some(action) = action {
            action();
        }
    }
}

pub(crate) fn run_all() {
    loop {
        let last = actions().1.pop_last();
        match last {
            Some((_, action)) => action(),
            None => return,
        }
    }
}

/// On SIGINT, SIGTERM or SIGHUP: clean up, then die of the same signal.
pub(crate) fn install_signal_handler() {
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            run_all();
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}
