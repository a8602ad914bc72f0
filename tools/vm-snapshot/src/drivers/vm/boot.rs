//! From a machine that just began to run to one that takes commands: ssh through a forwarded port of this host, the clock and
//! the random numbers set right, the network cut.

use super::agent;
use super::disk::memory;
use super::{WORK_DIR, as_root, file, login, refusal, user};
use crate::drivers::setting_number;
use crate::drivers::ssh::{Target, control};
use crate::instance::keeper;
use crate::state::store::Seat;
use contract::machines::Network;
use edge::{Failure, Result};
use std::io;
use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Command line of a kernel that is started without a boot loader. One that panics ends the machine at once; and that an
/// emulated timer is late on a busy host is no reason to.
pub const APPEND: &str = "console=ttyS0 root=/dev/vda rw quiet net.ifnames=0 panic=-1 no_timer_check";
const BOOT_TIMEOUT_S: u64 = 120;
/// Another may take a port between our choosing it and the machine's taking it.
pub const PORT_TRIES: u32 = 5;
/// Sets the clock to the first argument (seconds and nanoseconds), or to the machine's own clock, which goes on with that
/// of the host but is read in seconds, where connecting took longer than that; mixes the second into the kernel's random numbers and
/// makes it use them at once (RNDRESEEDCRNG): a mere write has an effect only at the next reseed, up to a minute later, and
/// until then all instances draw the same numbers. One program, because starting one takes long in an emulated machine.
const SET_RIGHT: &str = r#"($s, $n) = split(/,/, $ARGV[0]); open(R, "<", "/sys/class/rtc/rtc0/since_epoch") && ($r = int(<R>));
($s, $n) = ($r, 0) if $r > $s && $r < $s + 60; syscall(227, 0, pack("qq", $s, $n)) == 0 && open(F, "+>", "/dev/urandom") && syswrite(F, $ARGV[1]) && ioctl(F, 0x5207, 0) || exit 1"#;

/// An emulated machine translates a program for each address that it is loaded at: with the same ones every time it starts
/// programs five times faster.
const FLAT: &str = "grep -q 'QEMU TCG' /proc/cpuinfo && echo 0 >/proc/sys/kernel/randomize_va_space";

pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// How qemu's own network is told what a machine may reach, and through which port of this host ssh gets in.
pub fn netdev(seat: &Seat, port: u16) -> String {
    let restrict = if seat.instance.machine.network == Network::None { "on" } else { "off" };
    format!("user,id=net,restrict={restrict},hostfwd=tcp:127.0.0.1:{port}-:22")
}

/// The way to a machine through a port of this host.
pub fn target(seat: &Seat, port: u16) -> Target {
    Target {
        host: "127.0.0.1".to_owned(),
        port: Some(port.into()),
        user: Some(login(seat).to_owned()),
        identity: file(seat, "identity"),
        known_hosts: file(seat, "known_hosts"),
        options: ["HostKeyAlias=vm", "KexAlgorithms=curve25519-sha256"].map(str::to_owned).to_vec(),
        control: control(seat),
    }
}

/// The port of an instance that runs, as its note has it.
pub fn noted_port(seat: &Seat) -> u16 {
    seat.running().and_then(|note| note["port"].as_u64()?.try_into().ok()).unwrap_or(0)
}

/// Until when a machine that starts now must answer.
pub fn until(seat: &Seat) -> Instant {
    Instant::now() + Duration::from_secs(setting_number(seat, "boot_timeout_s").unwrap_or(BOOT_TIMEOUT_S))
}

/// Makes a machine that just began to run ready, and says `up`.
fn ready_script(seat: &Seat) -> Result<String> {
    // the clock stood still since the snapshot, and the random numbers would be the same again
    let seed = crate::instance::open::random_hex(64)?;
    let now = jiff::Timestamp::now();
    let (s, ns) = (now.as_second(), now.subsec_nanosecond());
    let right = format!(
        "perl -e '{SET_RIGHT}' {s},{ns} {seed} 2>/dev/null || {{ date -s @{s} >/dev/null; echo {seed} >/dev/urandom; }}"
    );
    if memory(seat).is_some() {
        // the rest was done before the snapshot was taken
        return Ok(format!("{right}; echo up"));
    }
    // without a route an attempt fails at once instead of waiting for an answer that never comes
    let cut = if seat.instance.machine.network == Network::None { "ip route del default; " } else { "" };
    let (user, login, agent) = (user(seat), login(seat), agent::start_script());
    Ok(format!(
        "{FLAT}\n{agent}{cut}{right}; mkdir -p {WORK_DIR} /share && chown {user} {WORK_DIR} && chown {login} /share && echo up"
    ))
}

/// Waits until a machine takes commands. `ended` says why it never will.
pub fn wait_until_up(
    seat: &Seat,
    target: &Target,
    until: Instant,
    ended: &mut dyn FnMut() -> Option<Failure>,
) -> Result<()> {
    let script = as_root(seat, &ready_script(seat)?);
    loop {
        let said = match target.connect(&script, &seat.dir.join("ssh.log"))? {
            Ok(()) => return Ok(()),
            Err(said) => said,
        };
        if let Some(failure) = ended().or_else(|| refusal(&said)) {
            return Err(failure);
        }
        keeper::caller_waits()?;
        if Instant::now() > until {
            return Err(Failure::try_again("it did not answer in time").detail("ssh", said.trim()));
        }
        sleep(Duration::from_millis(100));
    }
}
