//! Takes connections, a thread each, no more at a time than allowed.

use super::connection::{Shared, serve};
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Compressing takes most of it, in an unoptimised build; only what is touched costs memory.
const STACK_BYTES: usize = 2 << 20;

#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

struct Place(Arc<Places>);

impl Places {
    fn take(self: &Arc<Places>, most: usize) -> Place {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            self.freed.wait_while(taken, |taken| *taken >= most).unwrap_or_else(PoisonError::into_inner);
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

/// Serves for ever. Connections beyond the limit wait in the kernel's queue.
pub fn accept(listener: &TcpListener, shared: &Arc<Shared>, max_connections: usize) -> ! {
    let places = Arc::new(Places::default());
    loop {
        let place = places.take(max_connections);
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
