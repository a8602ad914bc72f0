//! Takes connections, a thread each, no more at a time than allowed.

use super::connection::{Shared, serve};
use rustix::process::{Resource, getrlimit};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Compressing takes most of it, in an unoptimised build; only what is touched costs memory.
const STACK_BYTES: usize = 2 << 20;

/// Descriptors of one connection that is answered: its socket, the directory, the file.
const FILES_PER_CONNECTION: u64 = 3;
/// Descriptors of the server itself, and of what it was started with.
const FILES_APART: u64 = 16;

#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

struct Place(Arc<Places>);

impl Places {
    /// Waits for a free place; `crowded` is set meanwhile.
    fn take(self: &Arc<Places>, most: usize, crowded: &AtomicBool) -> Place {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        crowded.store(*taken >= most, SeqCst);
        let mut taken =
            self.freed.wait_while(taken, |taken| *taken >= most).unwrap_or_else(PoisonError::into_inner);
        crowded.store(false, SeqCst);
        *taken += 1;
        Place(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

/// As many connections as wanted, but no more than there are file descriptors for: one that is accepted is answered.
pub fn connections_within_limits(wanted: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = files.saturating_sub(FILES_APART) / FILES_PER_CONNECTION;
    wanted.min(usize::try_from(most).unwrap_or(usize::MAX)).max(1)
}

/// Serves for ever. Connections beyond the limit wait in the kernel's queue.
pub fn accept(listener: &TcpListener, shared: &Arc<Shared>, max_connections: usize) -> ! {
    let places = Arc::new(Places::default());
    loop {
        let place = places.take(max_connections, &shared.crowded);
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) => {
                // out of file descriptors, or the client was gone before we came: neither lasts
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
        let shared = shared.clone();
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            serve(stream, &shared);
            drop(place);
        });
        if thread.is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
