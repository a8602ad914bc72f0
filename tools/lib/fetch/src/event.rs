use crate::error::Trouble;
use std::fmt;
use std::time::Duration;

/// What happens during a fetch, told to [`crate::Options::on_event`]. [`fmt::Display`] is one line for `-v`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request goes out. `resume_at` > 0: only the rest of a broken transfer is asked for.
    Asking {
        url: &'a str,
        attempt: u32,
        resume_at: u64,
        revalidating: bool,
    },
    /// A status line came.
    Answered {
        url: &'a str,
        status: u16,
    },
    Redirected {
        url: &'a str,
        to: &'a str,
    },
    /// It will be tried again after the pause.
    Retrying {
        url: &'a str,
        trouble: &'a Trouble,
        pause: Duration,
    },
    /// Served from the cache without any request.
    FromCache {
        url: &'a str,
    },
    /// The cache could not be used; the fetch goes on without it.
    CacheTrouble {
        what: &'a str,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Asking { url, resume_at, revalidating, .. } => {
                write!(f, "GET {url}")?;
                if *resume_at > 0 {
                    write!(f, " (from byte {resume_at})")?;
                }
                if *revalidating {
                    write!(f, " (if changed)")?;
                }
                Ok(())
            }
            Event::Answered { url, status } => write!(f, "{status} {url}"),
            Event::Redirected { url, to } => write!(f, "{url} redirects to {to}"),
            Event::Retrying { url, trouble, pause } => {
                write!(f, "{url}: {trouble}; trying again in {:.1} s", pause.as_secs_f64())
            }
            Event::FromCache { url } => write!(f, "{url}: from the cache, not asked"),
            Event::CacheTrouble { what } => write!(f, "cache not used: {what}"),
        }
    }
}
