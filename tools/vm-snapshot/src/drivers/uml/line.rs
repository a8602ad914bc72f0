//! The way into a machine, for ssh: its network device is joined to a network namespace of the jail with nothing else in it,
//! so whoever wants to reach the machine goes there.

use super::plan::ADDRESS;
use super::usage;
use crate::state::store::Store;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const BUFFER_BYTES: usize = 64 << 10;
/// How long the machine may take until it listens.
const PATIENCE: Duration = Duration::from_secs(8);

/// The role `internal-line DIR`: joins stdin and stdout to sshd in an instance.
pub fn role(args: &[OsString]) -> ExitCode {
    let dir = args.first().map(Path::new).ok_or_else(|| io::Error::other("no directory"));
    match dir.and_then(reach).and_then(join) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            edge::say::failure(&edge::Failure::try_again(format!("cannot reach the machine: {error}")));
            ExitCode::from(75)
        }
    }
}

fn reach(dir: &Path) -> io::Result<TcpStream> {
    let store = dir.ancestors().nth(2).map(|state| Store { dir: state.to_owned() });
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let init = store.and_then(|store| usage::init(&store.seat(&name)?));
    let init = init.ok_or_else(|| io::Error::other("it is gone"))?;
    let namespace = |name: &str| File::open(format!("/proc/{}/ns/{name}", init.pid));
    let (user, network) = (namespace("user")?, namespace("net")?);
    move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect_timeout(&ADDRESS.into(), PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn join(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (input, output) =
        (rustix::io::dup(rustix::stdio::stdin())?, rustix::io::dup(rustix::stdio::stdout())?);
    let there = stream.try_clone()?;
    std::thread::spawn(move || {
        pump(File::from(input), &there);
        let _ = there.shutdown(Shutdown::Both);
    });
    pump(stream, File::from(output));
    Ok(())
}

fn pump(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}
