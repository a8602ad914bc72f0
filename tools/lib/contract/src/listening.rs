use serde::{Deserialize, Serialize};

/// `kind: "listening"`: the one object that `site-serve` prints once it accepts connections, and writes to
/// `--ready-file`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Listening {
    pub kind: String,
    pub v: u32,
    /// Base address with final slash, as this machine reaches it: `http://127.0.0.1:8080/`, also where the server
    /// listens on every address.
    pub url: String,
    /// What it listens on: `127.0.0.1:8080`, `0.0.0.0:8080`.
    pub address: String,
    pub port: u16,
    pub pid: u32,
    /// What is served where, sorted by prefix.
    #[serde(default)]
    pub mounts: Vec<ServedMount>,
}

/// A directory that is served.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ServedMount {
    /// `/`, `/catalog`
    pub prefix: String,
    /// Absolute, without symbolic links.
    pub dir: String,
}

impl crate::Document for Listening {
    const KIND: &'static str = "listening";
}
