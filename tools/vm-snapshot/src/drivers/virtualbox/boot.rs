//! From a machine that is off to one that takes commands: start, wait for ssh, make sure that it is that machine, set its
//! clock, cut its network.

use super::commands;
use super::info::Info;
use super::manage::Manage;
use super::serve;
use crate::drivers::ssh::{Target, control};
use crate::drivers::{setting_number, ssh};
use crate::state::store::Seat;
use contract::machines::Network;
use edge::{Failure, Result, say};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What the other commands need to know about an instance: its `running.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Note {
    /// Name in VirtualBox.
    pub vm: String,
    pub uuid: String,
    pub host: String,
    /// A linked clone, to be removed; else a machine to be put back.
    pub is_clone: bool,
    /// Where the user of ssh is at home.
    pub home: String,
    /// How commands become root: `root` (they are), `sudo`, or not at all.
    pub root: String,
    /// The network was cut.
    pub is_cut: bool,
    /// Port of the server of shared directories on this host.
    pub served: Option<u16>,
    /// Images of its disks.
    pub disks: Vec<String>,
}

impl Note {
    pub fn of(seat: &Seat) -> Option<Note> {
        serde_json::from_value(seat.running()?).ok()
    }

    /// Known to `reap` from now on, even if this process is killed.
    pub fn write(&self, seat: &Seat) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|error| Failure::bug(error.to_string()))?;
        edge::write_atomic(seat.dir.join("running.json"), &text)
    }
}

const BOOT_TIMEOUT_S: u64 = 120;
/// Mixes its argument into the kernel's random numbers and makes it use them at once (RNDRESEEDCRNG).
const RESEED: &str =
    r#"open(F, "+>", "/dev/urandom") && syswrite(F, $ARGV[0]) && ioctl(F, 0x5207, 0) || exit 1"#;
pub const USER: &str = "racket";
/// Where shared directories are copied to.
pub const SHARES: &str = "/var/tmp/vm-snapshot";

pub fn target(seat: &Seat, host: &str, is_clone: bool) -> Target {
    let mut target = Target::of(seat);
    target.host = host.to_owned();
    target.user.get_or_insert_with(|| USER.to_owned());
    target.control = control(seat);
    if is_clone && target.known_hosts.is_some() {
        // all clones have the key of the machine they come from
        let base = super::base_name(seat);
        target.options.insert(0, format!("HostKeyAlias={base}"));
    }
    target
}

/// Whether ssh comes in by the way that would be cut: a forwarded port.
fn is_forwarded(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What is run first inside. It says who it is, where it is at home, and its network addresses.
fn script(work_dir: Option<&str>, cut: bool) -> Result<String> {
    let now = jiff::Timestamp::now().as_second();
    let seed = crate::instance::open::random_hex(64)?;
    // without a route an attempt fails at once instead of waiting for an answer that never comes
    let route = if cut { "$s ip route del default 2>/dev/null;" } else { "" };
    let work = match work_dir {
        Some(dir) => {
            format!("mkdir -p {dir} 2>/dev/null || $s mkdir -p {dir} && $s chown \"$(id -un)\" {dir};")
        }
        None => "mkdir -p \"$HOME/work\";".to_owned(),
    };
    // the clock stood still in a snapshot with memory, and its random numbers would be the same again

    Ok(format!(
        "r=root; s=; if [ \"$(id -u)\" != 0 ]; then if sudo -n true 2>/dev/null; then r=sudo; s='sudo -n'; else r=none; s=false; fi; fi
         $s date -s @{now} >/dev/null 2>&1; $s perl -e '{RESEED}' {seed} 2>/dev/null || echo {seed} 2>/dev/null >/dev/urandom; {route}
         chmod -R u+w {SHARES} 2>/dev/null; rm -rf {SHARES}; {work}
         printf 'up %s %s %s\\n' \"$r\" \"$HOME\" \"$(cat /sys/class/net/*/address 2>/dev/null | tr -d : | tr '\\n' ,)\""
    ))
}

/// Refuses a machine that has none of the network adapters that the one meant has.
fn check_identity(action: &str, host: &str, info: &Info, addresses: &str) -> Result<()> {
    let seen: Vec<&str> = addresses.split(',').filter(|address| !address.is_empty()).collect();
    let meant: Vec<&str> = info.nics.iter().map(|nic| nic.mac.as_str()).collect();
    if seen.is_empty() || seen.iter().any(|address| meant.contains(address)) {
        return Ok(());
    }
    Err(Failure::unavailable(format!("{action}: another machine answers at {host}"))
        .detail("network adapters", seen.join(", "))
        .detail("wanted", meant.join(", "))
        .hint(format!(
            "which address \"{}\" has, its console says (ip address); put that into the setting \"host\"",
            info.name
        )))
}

/// Starts a machine that is off and makes it ready. `note` says where it is, and learns the rest.
pub fn boot(
    seat: &Seat,
    manage: &Manage,
    action: &str,
    note: &mut Note,
    go_on: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let info = manage.info(&note.vm)?;
    let machine = &seat.instance.machine;
    note.is_cut =
        machine.network == Network::None && (info.ways_out().is_empty() || !is_forwarded(&note.host));
    manage.run(&commands::start(&note.vm))?;
    let target = target(seat, &note.host, note.is_clone);
    let timeout_s = setting_number(seat, "boot_timeout_s").unwrap_or(BOOT_TIMEOUT_S);
    let until = Instant::now() + Duration::from_secs(timeout_s);
    let script = script(machine.work_dir.as_deref(), note.is_cut)?;
    let mut still_up = || {
        go_on()?;
        let now = manage.info(&note.vm)?;
        if now.is_up() {
            return Ok(());
        }
        Err(Failure::try_again(format!("{action}: \"{}\" went off by itself", note.vm))
            .detail("state", now.state)
            .hint(format!("its log is in \"{}\"", now.log_dir)))
    };
    let said = target
        .reach(action, &script, &seat.dir.join("ssh.log"), until, &mut still_up)
        .map_err(|failure| failure.detail("log", &info.log_dir))?;
    let mut words = said.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    (note.root, note.home) = (word(), word());
    if let Err(failure) = check_identity(action, &note.host, &info, &word()) {
        target.disconnect();
        return Err(failure);
    }
    if note.is_cut {
        for nic in info.ways_out() {
            manage.run(&commands::cut(&note.vm, nic))?;
        }
    } else if machine.network == Network::None {
        say::warning(format!("the network of \"{}\" is not cut: ssh needs it", note.vm), None);
    }
    note.disks = info.disks;
    forward(seat, &target, note)
}

/// Lets the machine reach the server of shared directories.
fn forward(seat: &Seat, target: &ssh::Target, note: &Note) -> Result<()> {
    let Some(port) = note.served else { return Ok(()) };
    target.forward_back(serve::port(seat), port).map_err(|cause| {
        Failure::unavailable(format!("cannot serve shared directories to \"{}\": {cause}", note.vm)).hint(format!(
            "sshd there must allow it (AllowTcpForwarding), and port {} be free inside: see the setting \"server_port\"",
            serve::port(seat)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::virtualbox::info::Nic;

    #[test]
    fn another_machine_is_known_by_its_adapters() {
        let nic =
            Nic { number: 1, kind: "hostonly".into(), adapter: String::new(), mac: "08002758c245".into() };
        let info = Info { nics: vec![nic], ..Info::default() };
        let check = |seen: &str| check_identity("cannot", "h", &info, seen);
        assert!(check("000000000000,08002758c245,").is_ok());
        // it does not say
        assert!(check("").is_ok());
        let failure = check("000000000000,0242ac110002,").unwrap_err();
        assert_eq!(failure.message, "cannot: another machine answers at h");
        assert_eq!(failure.exit, edge::Exit::Unavailable);
    }

    #[test]
    fn a_forwarded_port_is_the_way_in() {
        assert!(is_forwarded("127.0.0.1") && is_forwarded("localhost") && is_forwarded("::1"));
        assert!(!is_forwarded("192.168.56.10") && !is_forwarded("vm"));
    }
}
