use crate::server::{Mount, Mounts};
use edge::{Manners, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Serve installer sites and catalogs over HTTP
///
/// Hands out what is on disk, never anything outside the directories named. Prints one JSON object (kind
/// "listening") once it accepts connections, then serves until it gets SIGINT or SIGTERM.
#[derive(clap::Parser, Debug)]
#[command(version)]
struct Args {
    /// Directory to serve at / [default: the current directory, unless something is mounted]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Address and port to listen on; port 0 picks a free one
    #[arg(short, long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    listen: String,

    /// Serve DIR below /PREFIX too (repeat for more)
    #[arg(short, long, value_name = "/PREFIX=DIR")]
    mount: Vec<String>,

    /// Tell whether DIR is a usable installer site, and list its installers; serve nothing
    #[arg(long, conflicts_with_all = ["mount", "listen", "exec", "ready_file", "owner"])]
    check: bool,

    /// Write the "listening" object to FILE too, once connections are accepted; gone when the server stops
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,

    /// Stop when the process with this number is gone
    #[arg(long, value_name = "PID")]
    owner: Option<u32>,

    /// Run COMMAND while serving, with SITE_URL in its environment, and end with its status
    #[arg(long, requires = "command")]
    exec: bool,

    /// Connections at the same time; more wait
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    max_connections: u32,

    /// The command of --exec
    #[arg(last = true, value_name = "COMMAND", requires = "exec")]
    command: Vec<std::ffi::OsString>,

    #[command(flatten)]
    manners: Manners,
}

/// What to do.
#[derive(Debug)]
pub enum Config {
    Check { dir: PathBuf },
    Serve(Serve),
}

#[derive(Debug)]
pub struct Serve {
    /// As typed, for messages.
    pub listen: String,
    pub addresses: Vec<SocketAddr>,
    pub mounts: Mounts,
    pub ready_file: Option<PathBuf>,
    pub owner: Option<u32>,
    pub command: Option<Vec<std::ffi::OsString>>,
    pub max_connections: usize,
}

pub fn parse() -> Result<(Config, Manners)> {
    let args: Args = edge::parse_args()?;
    let manners = args.manners.clone();
    if args.check {
        return Ok((Config::Check { dir: args.dir.unwrap_or_else(|| PathBuf::from(".")) }, manners));
    }
    let mut mounts = args.mount.iter().map(|text| Mount::parse(text)).collect::<Result<Vec<Mount>>>()?;
    if args.dir.is_some() || mounts.is_empty() {
        mounts.push(Mount::root(args.dir.unwrap_or_else(|| PathBuf::from("."))));
    }
    let config = Serve {
        addresses: addresses(&args.listen)?,
        listen: args.listen,
        mounts: Mounts::new(mounts)?,
        ready_file: args.ready_file,
        owner: args.owner,
        command: args.exec.then_some(args.command),
        max_connections: args.max_connections as usize,
    };
    Ok((Config::Serve(config), manners))
}

/// `ADDR:PORT`, `:PORT` (every address of the machine) or `PORT` (this machine only).
fn addresses(listen: &str) -> Result<Vec<SocketAddr>> {
    let full = match listen.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None if listen.bytes().all(|b| b.is_ascii_digit()) => format!("127.0.0.1:{listen}"),
        None => listen.to_owned(),
    };
    match full.to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(edge::Failure::usage(format!("cannot understand --listen \"{listen}\": {error}"))
            .hint("write ADDR:PORT, for example 127.0.0.1:8080, or :8080 for every address of this machine")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_short_forms() {
        let text = |listen: &str| addresses(listen).map(|found| found[0].to_string());
        assert_eq!(text("8080").unwrap(), "127.0.0.1:8080");
        assert_eq!(text(":8080").unwrap(), "0.0.0.0:8080");
        assert_eq!(text("[::1]:0").unwrap(), "[::1]:0");
        for bad in ["", "host", "1.2.3.4", "127.0.0.1:99999", "::1"] {
            assert!(text(bad).is_err(), "{bad}");
        }
    }
}
