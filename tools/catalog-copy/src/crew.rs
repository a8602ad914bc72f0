//! Threads that work side by side on jobs; results come out in the order in which the jobs went in.

use edge::{Failure, Result};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// So many jobs wait for each thread, and so many results of it. Everybody waits for everybody: memory is bounded.
const WAITING: usize = 2;

/// Where jobs go in.
#[derive(Debug)]
pub struct Crew<J> {
    /// One for each thread, served in turn; none once the crew has been told to end.
    jobs: Vec<SyncSender<J>>,
    given: usize,
}

/// Where results come out.
#[derive(Debug)]
pub struct Turns<R> {
    /// `None` is the last thing that a thread says.
    results: Vec<Receiver<Option<R>>>,
    taken: usize,
}

impl<J: Send + 'static> Crew<J> {
    /// As many threads as there are processors, up to eight.
    pub fn new<R: Send + 'static>(work: impl Fn(J) -> R + Clone + Send + 'static) -> (Crew<J>, Turns<R>) {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
        let (mut jobs, mut results) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (job_sender, job_receiver) = sync_channel::<J>(WAITING);
            let (result_sender, result_receiver) = sync_channel(WAITING);
            let work = work.clone();
            std::thread::spawn(move || {
                for job in job_receiver {
                    if result_sender.send(Some(work(job))).is_err() {
                        return;
                    }
                }
                let _ = result_sender.send(None);
            });
            jobs.push(job_sender);
            results.push(result_receiver);
        }
        (Crew { jobs, given: 0 }, Turns { results, taken: 0 })
    }

    /// So many jobs can be given before the first result is taken, without waiting for anybody.
    pub fn room(&self) -> usize {
        self.jobs.len() * WAITING
    }

    /// False when nobody takes jobs any more, because nobody takes results.
    pub fn give(&mut self, job: J) -> bool {
        let threads = self.jobs.len().max(1);
        let sent = self.jobs.get(self.given % threads).is_some_and(|thread| thread.send(job).is_ok());
        self.given += 1;
        sent
    }

    /// There are no more jobs.
    pub fn end(&mut self) {
        self.jobs.clear();
    }
}

impl<R> Turns<R> {
    /// The next result; `None` after the last.
    pub fn next(&mut self) -> Result<Option<R>> {
        let thread = &self.results[self.taken % self.results.len()];
        self.taken += 1;
        thread.recv().map_err(|_| Failure::bug("a working thread died"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let (mut crew, mut turns) = Crew::new(|n: u64| {
            std::thread::sleep(std::time::Duration::from_micros(n * 7919 % 300));
            n
        });
        let jobs = std::thread::spawn(move || (0..500).all(|n| crew.give(n)));
        for n in 0..500 {
            assert_eq!(turns.next().expect("alive"), Some(n));
        }
        assert_eq!(turns.next().expect("alive"), None);
        assert!(jobs.join().expect("alive"));
    }

    #[test]
    fn a_thread_that_died_is_no_end() {
        let (mut crew, mut turns) = Crew::new(|n: u64| if n == 5 { panic!("on purpose") } else { n });
        std::thread::spawn(move || (0..50).all(|n| crew.give(n)));
        let results: Vec<_> = std::iter::repeat_with(|| turns.next()).take(6).collect();
        assert!(results[..5].iter().all(|result| matches!(result, Ok(Some(_)))));
        assert!(results[5].is_err());
    }

    #[test]
    fn who_gives_learns_that_nobody_takes() {
        let (mut crew, turns) = Crew::new(|n: u64| n);
        drop(turns);
        assert!((0..50).any(|n| !crew.give(n)));
    }
}
