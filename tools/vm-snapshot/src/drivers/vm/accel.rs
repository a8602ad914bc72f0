//! Whether KVM can be trusted here. That `/dev/kvm` opens says little: nested in another virtual machine a stock kernel may
//! hang at an instruction that nobody emulates, while qemu reports that it runs. So the kernel itself is asked: started with
//! an initial file system whose only program prints a line. The answer is remembered until the host or the kernel changes.

use super::file;
use crate::drivers::setting;
use crate::process::before_exec;
use crate::state::store::Seat;
use edge::{Failure, Result, say};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// What runs the instructions of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    Kvm,
    /// Emulated, which works everywhere.
    Tcg,
}

impl Accel {
    /// As qemu names it.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        }
    }

    pub fn from_name(name: &str) -> Option<Accel> {
        [Accel::Kvm, Accel::Tcg].into_iter().find(|accel| accel.name() == name)
    }
}

/// Emulated a kernel answers within 3 s; one under KVM needs a tenth of that.
const PATIENCE: Duration = Duration::from_secs(5);
const MARKER: &str = "vm-snapshot: alive";

/// The accelerator for a machine: the one of the setting `accel`, else KVM if it is proved, else emulation.
pub fn choose(seat: &Seat) -> Result<Accel> {
    match setting(seat, "accel") {
        None => Ok(if kvm_works(seat) { Accel::Kvm } else { Accel::Tcg }),
        Some("kvm") if !kvm_works(seat) => Err(Failure::unavailable(format!(
            "cannot open machine \"{}\": KVM does not run its kernel on this host",
            seat.instance.machine.name
        ))
        .hint("without the setting \"accel\" it is emulated where KVM does not work")),
        Some(name) => Accel::from_name(name).ok_or_else(|| {
            Failure::data(format!(
                "cannot use machine \"{}\": no such accelerator: \"{name}\"",
                seat.instance.machine.name
            ))
            .detail("accel", "kvm, tcg")
        }),
    }
}

/// The kernel that is asked: the machine's; for an image with a boot loader the host's own, as the nearest there is.
fn kernel(seat: &Seat) -> Option<PathBuf> {
    file(seat, "kernel").or_else(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
        Some(Path::new("/boot").join(format!("vmlinuz-{}", release.trim())))
    })
}

fn kvm_works(seat: &Seat) -> bool {
    let Some(kernel) = kernel(seat).filter(|kernel| File::open(kernel).is_ok()) else { return false };
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        say::detail("KVM: /dev/kvm cannot be opened; emulating");
        return false;
    }
    let Some(state) = seat.dir.ancestors().nth(2) else { return false };
    let question = question(&kernel);
    // held while it is asked: of many machines opened at once, one asks
    let lock = File::options().create(true).append(true).open(state.join("kvm.lock"));
    let _lock = lock.ok().filter(|lock| flock(lock, FlockOperation::LockExclusive).is_ok());
    let memory = state.join("kvm.json");
    let remembered = fs::read(&memory).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    if let Some(answer) =
        remembered.filter(|all| all["asked"] == question).and_then(|all| all["works"].as_bool())
    {
        say::detail(format!(
            "KVM: {} (remembered)",
            if answer { "works" } else { "does not work; emulating" }
        ));
        return answer;
    }
    let works = ask(&kernel, "kvm", PATIENCE).unwrap_or(false);
    let verdict = if works { "it answers" } else { "it does not answer in 5 s; emulating" };
    say::detail(format!("KVM: asked kernel \"{}\": {verdict}", kernel.display()));
    let text = json!({"asked": question, "works": works}).to_string();
    let _ = edge::write_atomic(&memory, text.as_bytes());
    works
}

/// What the answer depends on: this boot of the host, and the kernel.
fn question(kernel: &Path) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let meta = fs::metadata(kernel).ok();
    let stamp = meta.map(|meta| (meta.len(), meta.mtime(), meta.mtime_nsec()));
    format!("{} {} {stamp:?}", boot.trim(), kernel.display())
}

/// Starts the kernel under `accel` with a file system that prints a line; true when the line comes.
fn ask(kernel: &Path, accel: &str, patience: Duration) -> io::Result<bool> {
    let initrd = tempfile(&marker_initrd())?;
    let args = [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        &format!("q35,usb=off,vmport=off,smbus=off,sata=off,accel={accel}"),
        "-cpu",
        if accel == "kvm" { "host" } else { "max" },
        "-m",
        "256M",
        "-serial",
        "stdio",
        "-append",
        "console=ttyS0 quiet panic=-1",
    ];
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(args)
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(&initrd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    // one that hangs must not outlive who asked
    before_exec(&mut command, || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
    let spawned = command.spawn();
    let answer = spawned.map(|mut child| {
        let (sender, receiver) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                let lines = BufReader::new(stdout.take(1 << 20)).split(b'\n').map_while(io::Result::ok);
                let found = lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(MARKER));
                let _ = sender.send(found);
            });
        }
        let answered = receiver.recv_timeout(patience).unwrap_or(false);
        let _ = child.kill();
        let _ = child.wait();
        answered
    });
    let _ = fs::remove_file(&initrd);
    answer
}

fn tempfile(bytes: &[u8]) -> io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("vm-snapshot-marker-{}", std::process::id()));
    fs::write(&path, bytes)?;
    Ok(path)
}

/// An archive as the kernel unpacks it (cpio, "new ASCII") with one file: `/init`.
fn marker_initrd() -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, data) in [("init", 0o100_755, marker_program()), ("TRAILER!!!", 0, Vec::new())] {
        // inode, mode, uid, gid, links, mtime, size, device (2), device of a node (2), length of the name, checksum
        let fields = [0, mode, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        archive.extend(b"070701");
        archive.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        archive.extend(name.bytes().chain([0]));
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// The smallest program for x86-64 Linux that writes the marker and then sleeps: an ELF header, one segment, its code.
fn marker_program() -> Vec<u8> {
    const AT: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let text = format!("{MARKER}\n");
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0]; // eax: write; edi: stdout
    code.extend([0x48, 0x8d, 0x35, 16, 0, 0, 0, 0xba]); // rsi: what follows the code; edx: its length
    code.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]); // pause, for ever
    code.extend(text.into_bytes());
    let size = HEADERS + code.len() as u64;
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(16, 0);
    program.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64, version 1
    for word in [AT + HEADERS, 64, 0] {
        program.extend(word.to_le_bytes()); // entry, program headers, section headers
    }
    program.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]); // flags, sizes and counts
    program.extend([1, 0, 0, 0, 5, 0, 0, 0]); // load; read and execute
    for word in [0, AT, AT, size, size, 0x1000] {
        program.extend(word.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    program.extend(code);
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel of the host runs, the kernel of a machine runs.
    #[test]
    fn the_marker_program_runs() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("marker-program-{}", std::process::id()));
        fs::write(&path, marker_program()).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        let mut child = Command::new(&path).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let _ = child.kill();
        let _ = child.wait();
        let _ = fs::remove_file(&path);
        assert_eq!(line, format!("{MARKER}\n"));
    }

    /// A kernel that runs does answer: emulated, with time to spare. Needs an image, of `DOWNSTREAM_IMAGE` or as other tests
    /// made it.
    #[test]
    fn a_kernel_that_runs_answers() {
        let made = || Some(std::env::current_exe().ok()?.ancestors().nth(3)?.join("small-image"));
        let image = std::env::var_os("DOWNSTREAM_IMAGE").map(PathBuf::from).or_else(made);
        let Some(kernel) = image.map(|image| image.join("kernel")).filter(|kernel| kernel.exists()) else {
            eprintln!("skipped: a_kernel_that_runs_answers: no image");
            return;
        };
        if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
            eprintln!("skipped: a_kernel_that_runs_answers: qemu-system-x86_64 is not installed");
            return;
        }
        assert!(ask(&kernel, "tcg", Duration::from_secs(120)).expect("qemu runs"));
    }

    #[test]
    fn the_archive_is_padded_as_the_kernel_wants_it() {
        let archive = marker_initrd();
        assert_eq!(archive.len() % 4, 0);
        assert_eq!(&archive[110..115], b"init\0");
        assert_eq!(&archive[116..120], b"\x7fELF");
    }
}
