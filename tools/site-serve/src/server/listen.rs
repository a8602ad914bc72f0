//! The listening socket, and what to say when it cannot be had.

use edge::{Exit, Failure, Result};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// How many ports are tried to find one to suggest.
const SUGGESTIONS: u16 = 50;

/// Listens on the first of the addresses that can be had.
pub fn listen(shown: &str, addresses: &[SocketAddr]) -> Result<TcpListener> {
    let error = match TcpListener::bind(addresses) {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
    let failure = Failure::new(Exit::Unavailable, format!("cannot listen on {shown}: {why}"));
    let Some(address) = addresses.first() else { return Err(failure) };
    let hint = match error.kind() {
        ErrorKind::AddrInUse => {
            format!("another program has that port; try --listen {}", suggestion(*address))
        }
        ErrorKind::PermissionDenied => {
            let high = SocketAddr::new(address.ip(), 8080);
            format!("ports below 1024 need special rights; try --listen {}", suggestion(high))
        }
        ErrorKind::AddrNotAvailable => {
            format!("this machine does not have that address; try --listen 127.0.0.1:{}", address.port())
        }
        _ => "port 0 picks a free one".to_owned(),
    };
    Err(failure.hint(hint))
}

/// An address near the wanted one that is free right now, or port 0.
fn suggestion(wanted: SocketAddr) -> String {
    let free = (0..SUGGESTIONS)
        .filter_map(|step| wanted.port().checked_add(step))
        .find(|port| TcpListener::bind(SocketAddr::new(wanted.ip(), *port)).is_ok());
    match free {
        Some(port) => format!("{} (free now) or port 0 (picks one)", SocketAddr::new(wanted.ip(), port)),
        None => format!("{} (picks a free one)", SocketAddr::new(wanted.ip(), 0)),
    }
}

/// The address under which this machine itself reaches the server.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
