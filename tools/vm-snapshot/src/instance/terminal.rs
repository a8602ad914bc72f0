//! A real terminal for a command inside: a pseudoterminal of its own, so that nothing inside can reach the user's.

use edge::{Context, Exit, Failure, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// How often the size of the window is looked at.
const SIZE_EVERY: Duration = Duration::from_millis(200);

/// Runs a command with a terminal of its own, joined to the one this program runs on.
pub fn run(mut command: Command) -> Result<ExitStatus> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("cannot open a terminal: stdin is not one")
            .hint("vm-snapshot exec runs a command without a terminal"));
    }
    let (master, slave) = pair().context(Exit::TryAgain, || "cannot make a terminal".to_owned())?;
    let copy = |fd: &OwnedFd| fd.try_clone().context(Exit::TryAgain, || "cannot make a terminal".to_owned());
    command.stdin(copy(&slave)?).stdout(copy(&slave)?).stderr(slave);
    let mut child = command.spawn().context(Exit::TryAgain, || "cannot enter the machine".to_owned())?;
    // the ends of the slave that the command holds would keep the master from ending
    drop(command);
    let _raw = Raw::set();
    let (size, input, output) = (copy(&master)?, copy(&master)?, master);
    std::thread::spawn(move || {
        while let Ok(window) = tcgetwinsize(std::io::stdin()) {
            if tcsetwinsize(&size, window).is_err() {
                break;
            }
            std::thread::sleep(SIZE_EVERY);
        }
    });
    std::thread::spawn(move || pump(std::io::stdin().lock(), File::from(input)));
    // ends with an error when the last holder of the slave is gone
    pump(File::from(output), std::io::stdout().lock());
    child.wait().context(Exit::TryAgain, || "cannot wait for the command".to_owned())
}

/// In the command's process, before it is executed: takes stdin as the terminal that it controls.
pub fn control() -> std::io::Result<()> {
    rustix::process::setsid()?;
    Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
}

fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    if let Ok(window) = tcgetwinsize(std::io::stdin()) {
        tcsetwinsize(&master, window)?;
    }
    Ok((master, slave))
}

fn pump(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// The user's terminal passes every key as it is, until this is dropped or the program ends.
struct Raw {
    _restore: Option<edge::Cleanup>,
}

impl Raw {
    fn set() -> Raw {
        let Ok(before) = tcgetattr(std::io::stdin()) else { return Raw { _restore: None } };
        let mut raw: Termios = before.clone();
        raw.make_raw();
        if tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).is_err() {
            return Raw { _restore: None };
        }
        Raw {
            _restore: Some(edge::on_exit(move || {
                let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
            })),
        }
    }
}
