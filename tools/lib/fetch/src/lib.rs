//! URL to bytes, in memory or on disk: time-outs, retries, size caps, checksums, resumption, cache, manners
//! towards hosts. `http`, `https` and `file` URLs. Prints nothing; see [`Options::on_event`] for `-v`.
//!
//! ```no_run
//! let client = fetch::Client::new(fetch::Options { cache: fetch::default_cache_dir(), ..Default::default() });
//! let (catalog, info) = client.request("https://pkgs.racket-lang.org/pkgs-all").max_bytes(64 << 20).bytes()?;
//! client.request("https://host/a.zip").expect_sha1("…").to_file("pkgs/a.zip".as_ref())?;
//! # Ok::<(), fetch::FetchError>(())
//! ```

mod cache;
mod client;
mod error;
mod event;
mod exchange;
mod fetching;
mod forward;
mod host;
mod local;
mod options;
mod proxy;
mod request;
mod resolve;
mod retry;
mod sink;
mod tls;
mod transfer;
pub mod url;

pub use client::Client;
pub use error::{Class, FetchError, Phase, Trouble};
pub use event::Event;
pub use options::{Listener, Options, default_cache_dir};
pub use request::{Info, Origin, Progress, Request};
