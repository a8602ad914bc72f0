//! Runs one command in a machine through its resident: stdin goes there, stdout and stderr come back apart, and the exit
//! status is the command's.

use super::{Note, Way, give_up, note};
use crate::drivers::guest::wrapped;
use crate::state::store::{Seat, Store};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

const BUFFER_BYTES: usize = 64 << 10;
/// How long the resident may take to say that it takes a command.
const PATIENCE: Duration = Duration::from_secs(20);
/// The exit code of trouble on the way, as that of ssh.
const TROUBLE: u8 = 255;

/// The role `internal-talk DIR USER WAY WORD…`.
pub fn role(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(dir), Some(user), Some(way)) = (args.next(), args.next(), args.next()) else {
        return ExitCode::from(2);
    };
    let Some(way) = way.to_str().and_then(Way::from_name) else { return ExitCode::from(2) };
    let (dir, words): (_, Vec<OsString>) = (Path::new(&dir), args.collect());
    let store = dir.ancestors().nth(2).map(|state| Store { dir: state.to_owned() });
    let seat = store.and_then(|store| store.seat(&dir.file_name()?.to_string_lossy()));
    let Some(seat) = seat else { return ExitCode::from(TROUBLE) };
    let user = user.to_string_lossy();
    let begun =
        note(&seat).ok_or(ErrorKind::NotFound.into()).and_then(|note| begin(&note, &user, way, &words));
    match begun {
        Ok(stream) => ExitCode::from(run(stream).unwrap_or(TROUBLE)),
        Err(_) => by_ssh(&seat, &user, way, words),
    }
}

/// Says what to run. stdin is not touched before it is taken.
fn begin(note: &Note, user: &str, way: Way, words: &[OsString]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, note.port).into(), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut all = [user, "\0", way.name()].concat().into_bytes();
    for word in words {
        all.push(0);
        all.extend(word.as_bytes());
    }
    stream.write_all(&[note.token.as_bytes(), &frame(&all)?].concat())?;
    let mut taken = [0];
    stream.read_exact(&mut taken)?;
    stream.set_read_timeout(None)?;
    if taken == *b"o" { Ok(stream) } else { Err(ErrorKind::InvalidData.into()) }
}

/// A length and as many bytes.
fn frame(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), bytes].concat())
}

/// The resident is gone, by root inside perhaps: all that comes now goes by ssh.
fn by_ssh(seat: &Seat, user: &str, way: Way, words: Vec<OsString>) -> ExitCode {
    give_up(&seat.dir);
    let driver = crate::drivers::find(&seat.instance.machine.driver);
    let Some(channel) = driver.ok().and_then(|driver| driver.channel()) else {
        return ExitCode::from(TROUBLE);
    };
    let argv = match way {
        Way::Plain => words,
        way => wrapped(words, way == Way::Joined, false),
    };
    let error = channel.command(seat, &argv, Some(user), false).exec();
    edge::say::failure(&edge::Failure::unavailable(format!("cannot run ssh: {error}")));
    ExitCode::from(TROUBLE)
}

/// Until the command has ended: gives its exit code.
fn run(mut stream: TcpStream) -> io::Result<u8> {
    let there = stream.try_clone()?;
    // it may wait for its input when the command has long ended; it ends with this process
    std::thread::spawn(move || {
        if pump_in(&there).is_err() {
            let _ = there.shutdown(Shutdown::Both);
        }
    });
    let (mut stdout, mut stderr) = (raw(rustix::stdio::stdout())?, raw(rustix::stdio::stderr())?);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let mut left = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] == b'x' {
            let mut status = [0; 2];
            stream.read_exact(&mut status)?;
            return Ok(code(ExitStatus::from_raw(u16::from_be_bytes(status).into())));
        }
        while left > 0 {
            let size = left.min(BUFFER_BYTES);
            let count = stream.read(&mut buffer[..size])?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let written = match head[0] {
                b'1' => stdout.write_all(&buffer[..count]),
                _ => stderr.write_all(&buffer[..count]),
            };
            if let Err(error) = written {
                return broken(&error);
            }
            left -= count;
        }
    }
}

/// Nobody reads any more: ends of the signal that a command of this host ends of, so that the guard knows.
fn broken(error: &io::Error) -> io::Result<u8> {
    if error.kind() == ErrorKind::BrokenPipe {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    Err(ErrorKind::BrokenPipe.into())
}

/// A stream of this process without a buffer of its own.
fn raw(fd: impl std::os::fd::AsFd) -> io::Result<std::fs::File> {
    Ok(rustix::io::dup(fd)?.into())
}

fn pump_in(mut there: &TcpStream) -> io::Result<()> {
    let mut stdin = raw(rustix::stdio::stdin())?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match stdin.read(&mut buffer) {
            // what cannot be read is at its end
            Ok(0) | Err(_) => return there.write_all(&frame(b"")?),
            Ok(count) => there.write_all(&frame(&buffer[..count])?)?,
        }
    }
}

/// As a shell tells it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(TROUBLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_command_ended() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
        assert_eq!(frame(b"ab").expect("short"), b"\0\0\0\x02ab");
    }
}
