//! The network of a sandbox: its own, with nothing but loopback.

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, netlink, sendto, socket_with};
use std::io;
use std::path::Path;

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const IFF_UP: u32 = 1;
const LOOPBACK: i32 = 1;

/// Brings interface 1 of the present network namespace up: one rtnetlink(7) message.
pub fn loopback_up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let to = netlink::SocketAddrNetlink::new(0, 0);
    sendto(&socket, &message(), SendFlags::empty(), &to)?;
    let mut answer = [0u8; 128];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], rustix::net::RecvFlags::empty())?;
    // nlmsghdr, then the error number of the answer
    match answer.get(16..20) {
        Some(code) if length >= 20 => match i32::from_ne_bytes(code.try_into().unwrap_or_default()) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        },
        _ => Err(io::Error::other("short answer from rtnetlink")),
    }
}

fn message() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    // nlmsghdr: length, type, flags, sequence, port
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend([0; 8]);
    // ifinfomsg: family and type, index, flags, which flags to change
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message
}

/// How often something inside tried to reach what is not there: packets without a route, of IP version 4 and 6.
/// Asking for a name counts, because the name server has an address without a route too.
pub fn refusals(pid: i32) -> Option<u64> {
    let read = |file: &str| std::fs::read_to_string(Path::new(&format!("/proc/{pid}/net/{file}"))).ok();
    let v4 = read("snmp").and_then(|text| out_no_routes_v4(&text))?;
    let v6 = read("snmp6").and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("Ip6OutNoRoutes")?.trim().parse::<u64>().ok())
    });
    Some(v4 + v6.unwrap_or(0))
}

fn out_no_routes_v4(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Ip: "));
    let at = lines.next()?.split(' ').position(|name| name == "OutNoRoutes")?;
    lines.next()?.split(' ').nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_by_its_name() {
        let snmp = "Ip: Forwarding OutDiscards OutNoRoutes X\nIp: 1 2 3 4\nIcmp: a\n";
        assert_eq!(out_no_routes_v4(snmp), Some(3));
        assert_eq!(out_no_routes_v4("Ip: A B\nIp: 1 2\n"), None);
    }

    #[test]
    fn the_message_has_the_length_it_says() {
        assert_eq!(message().len(), 32);
    }
}
