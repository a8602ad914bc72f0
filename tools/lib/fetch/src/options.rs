use crate::event::Event;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Called with every [`Event`], from whichever thread fetches.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// How a [`crate::Client`] behaves. The defaults suit catalogs and package archives.
#[derive(Clone)]
pub struct Options {
    pub user_agent: String,
    /// Longest wait for name, connection and TLS together.
    pub connect_timeout: Duration,
    /// Longest silence while waiting for an answer or for more of it. A body that brings fewer than
    /// `min_bytes_per_window` in such a time is given up too.
    pub read_timeout: Duration,
    pub min_bytes_per_window: u64,
    /// Longest time for one fetch, retries included; `None`: no limit but the others.
    pub total_timeout: Option<Duration>,
    /// How often a fetch is tried again after 408, 409, 425, 429, 5xx or a broken connection.
    pub retries: u32,
    /// First pause before a retry; doubles each time, with jitter.
    pub backoff: Duration,
    /// A server's `Retry-After` is honoured up to this.
    pub retry_after_max: Duration,
    pub redirects: u32,
    /// Largest body, after decompression, in bytes.
    pub max_bytes: u64,
    /// Requests to one host at the same time.
    pub per_host: usize,
    /// After so many failures in a row without any answer a host is given up (and asked again once in a while).
    pub give_up_after: u32,
    /// Directory of the cache; `None`: no cache. See [`default_cache_dir`].
    pub cache: Option<PathBuf>,
    /// The cache is pruned, least recently used first, to about this many bytes.
    pub cache_max_bytes: u64,
    /// Proxies as the environment says; otherwise none.
    pub proxies_from_environment: bool,
    /// Verify TLS certificates (names, dates, signatures), against `SSL_CERT_FILE`, the system's or the built-in authorities.
    pub verify_tls: bool,
    /// Told what is asked of whom, for `-v`.
    pub on_event: Option<Listener>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            user_agent: concat!("downstream/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
            min_bytes_per_window: 1024,
            total_timeout: None,
            retries: 5,
            backoff: Duration::from_millis(100),
            retry_after_max: Duration::from_secs(60),
            redirects: 25,
            max_bytes: 4 << 30,
            per_host: 8,
            give_up_after: 12,
            cache: None,
            cache_max_bytes: 2 << 30,
            proxies_from_environment: true,
            verify_tls: true,
            on_event: None,
        }
    }
}

impl Options {
    /// The defaults, with what the user's environment says: `DOWNSTREAM_TIMEOUT_S` (seconds of silence, and for a
    /// connection), `DOWNSTREAM_RETRIES`, and Racket's own `PLT_PKG_SSL_NO_VERIFY` (set to anything: certificates
    /// are not verified). A value that makes no sense is as good as none.
    pub fn from_environment() -> Options {
        Options::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Options {
        let number = |name: &str| variable(name)?.trim().parse::<f64>().ok().filter(|number| *number >= 0.0);
        let mut options = Options::default();
        // a day is as good as for ever, and fits every clock
        if let Some(timeout_s) = number("DOWNSTREAM_TIMEOUT_S").filter(|timeout_s| *timeout_s > 0.0) {
            options.read_timeout = Duration::from_secs_f64(timeout_s.min(86_400.0));
            options.connect_timeout = options.connect_timeout.min(options.read_timeout);
        }
        if let Some(retries) = number("DOWNSTREAM_RETRIES") {
            options.retries = retries.min(100.0) as u32;
        }
        options.verify_tls = variable("PLT_PKG_SSL_NO_VERIFY").is_none();
        options
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("user_agent", &self.user_agent)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// `$XDG_CACHE_HOME/downstream/fetch`, else `~/.cache/downstream/fetch`; `None` without a home.
pub fn default_cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("downstream").join("fetch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_may_say_more() {
        let options = |name: &'static str, value: &'static str| {
            Options::read(move |asked| (asked == name).then(|| value.to_owned()))
        };
        let timeouts = |value| {
            let options = options("DOWNSTREAM_TIMEOUT_S", value);
            (options.read_timeout.as_secs_f64(), options.connect_timeout.as_secs_f64())
        };
        assert_eq!(timeouts("0.5"), (0.5, 0.5));
        assert_eq!(timeouts("300"), (300.0, 15.0));
        for nonsense in ["", "x", "-1", "0", "NaN"] {
            assert_eq!(timeouts(nonsense), (60.0, 15.0), "{nonsense}");
        }
        assert_eq!(timeouts("inf").0, 86_400.0);
        assert_eq!(options("DOWNSTREAM_RETRIES", "0").retries, 0);
        assert_eq!(options("DOWNSTREAM_RETRIES", "many").retries, 5);
        assert!(!options("PLT_PKG_SSL_NO_VERIFY", "1").verify_tls);
        assert!(options("OTHER", "1").verify_tls);
    }
}
