//! Once this program has got a signal nothing is judged or written any more: what it would see is its own end.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

static STOPPING: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Notes signals from now on. (What they do is the business of `edge`: clean up, then die of the signal.)
pub fn watch() {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let _ = signal_hook::flag::register(signal, Arc::clone(&STOPPING));
    }
}

/// Returns at once, or, when a signal has come, never: the clean-up goes on beside and ends the program.
pub fn park_if_stopping() {
    while STOPPING.load(Ordering::SeqCst) {
        std::thread::park_timeout(std::time::Duration::from_secs(1));
    }
}
