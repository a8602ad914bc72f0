use serde::{Deserialize, Serialize};

/// `kind: "listening"`: the one object that `site-serve` prints once it accepts connections.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Listening {
    pub kind: String,
    pub v: u32,
    /// Base address with final slash: `http://127.0.0.1:8080/`.
    pub url: String,
    /// `127.0.0.1:8080`
    pub address: String,
    pub port: u16,
    pub pid: u32,
}

impl crate::Document for Listening {
    const KIND: &'static str = "listening";
}
