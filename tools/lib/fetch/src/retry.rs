//! Whether and when to try again: pure.

use crate::error::{Trouble, is_transient_status};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// Names and silent hosts take long to fail, and rarely get better within seconds.
const RETRIES_OF_SLOW_TROUBLE: u32 = 2;
/// Longest pause of ours between two attempts; a server's Retry-After may be longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often a fetch that met this trouble is worth trying again.
pub(crate) fn retries_for(trouble: &Trouble, retries: u32, retry_after_max: Duration) -> u32 {
    match trouble {
        // longer than we are ready to wait: one more try after that wait, then it is told
        Trouble::Status { retry_after: Some(asked), .. } if *asked > retry_after_max => retries.min(1),
        Trouble::Status { status, .. } if is_transient_status(*status) => retries,
        Trouble::ConnectionRefused { .. } | Trouble::Broken { .. } | Trouble::Truncated { .. } => retries,
        Trouble::NameNotFound { .. }
        | Trouble::NoRoute { .. }
        | Trouble::TimedOut { .. }
        | Trouble::TooSlow { .. } => retries.min(RETRIES_OF_SLOW_TROUBLE),
        Trouble::BadEncoding { .. } | Trouble::NotHttp { .. } => retries.min(1),
        _ => 0,
    }
}

/// What the server asked for, no longer than we are ready to wait.
pub(crate) fn asked_pause(trouble: &Trouble, longest: Duration) -> Option<Duration> {
    match trouble {
        Trouble::Status { retry_after: Some(asked), .. } => Some((*asked).min(longest)),
        _ => None,
    }
}

/// The pause before retry number `retry` (from 0): doubling, within ±50 % by `jitter` (0 to 1), and at least what
/// the server asked for.
pub(crate) fn pause(retry: u32, backoff: Duration, jitter: f64, asked: Option<Duration>) -> Duration {
    let doubled = backoff.saturating_mul(1 << retry.min(16)).min(LONGEST_PAUSE);
    doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0)).max(asked.unwrap_or_default())
}

/// A number in [0, 1), different in every process and call.
pub(crate) fn jitter() -> f64 {
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// Reads a `Retry-After` header: seconds, or a date.
pub(crate) fn parse_retry_after(value: &str, now: std::time::SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn status(status: u16, retry_after: Option<u64>) -> Trouble {
        let retry_after = retry_after.map(Duration::from_secs);
        Trouble::Status { status, reason: String::new(), message: None, retry_after }
    }

    #[test]
    fn only_what_may_get_better_is_tried_again() {
        let minute = Duration::from_secs(60);
        for (code, expected) in
            [(408, 5), (409, 5), (429, 5), (500, 5), (503, 5), (501, 0), (404, 0), (403, 0)]
        {
            assert_eq!(retries_for(&status(code, None), 5, minute), expected, "{code}");
        }
        assert_eq!(retries_for(&status(503, Some(3600)), 5, minute), 1);
        assert_eq!(retries_for(&status(503, Some(6)), 5, minute), 5);
        let mismatch = Trouble::ChecksumMismatch { algorithm: "sha1", expected: "a".into(), got: "b".into() };
        assert_eq!(retries_for(&mismatch, 5, minute), 0);
    }

    #[test]
    fn pauses_double_and_obey_the_server() {
        let backoff = Duration::from_millis(100);
        let steps: Vec<u128> = (0..6).map(|retry| pause(retry, backoff, 0.5, None).as_millis()).collect();
        assert_eq!(steps, [100, 200, 400, 800, 1600, 3200]);
        assert_eq!(pause(0, backoff, 0.0, None).as_millis(), 50);
        assert_eq!(pause(60, backoff, 0.5, None), LONGEST_PAUSE);
        assert_eq!(pause(0, backoff, 0.5, Some(Duration::from_secs(7))).as_secs(), 7);
        assert!((0..100).map(|_| jitter()).all(|j| (0.0..1.0).contains(&j)));
    }

    #[test]
    fn retry_after_comes_in_two_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", now), None);
    }
}
