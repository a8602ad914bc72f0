//! Where an instance writes. With a limit and as root: a file system of that size in a sparse file, so that the limit is
//! the kernel's and a full disk looks like one. Without loop devices, or as an ordinary user: a directory, and the keeper
//! looks how much is in it.

use super::host::Host;
use crate::state::store::Seat;
use rustix::fs::SeekFrom;
use rustix::mount::MountFlags;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How the limit of a disk is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keeping {
    None,
    /// By a file system of that size.
    FileSystem,
    /// By looking, every quarter of a second or less often when that takes long.
    Watched,
}

#[derive(Clone, Debug)]
pub struct Disk {
    /// Holds `upper` and `work`.
    pub dir: PathBuf,
    /// File with a file system, to be mounted at `dir`.
    pub image: Option<PathBuf>,
    pub keeping: Keeping,
}

/// Below this the disk counts as full: what ext4 may not be able to give to one more file.
const FULL_BYTES: u64 = 256 << 10;
const SMALLEST_IMAGE_MB: u64 = 4;
const BLOCK: usize = 4096;

impl Disk {
    fn directory(seat: &Seat) -> Disk {
        let keeping = if seat.instance.machine.disk_mb > 0 { Keeping::Watched } else { Keeping::None };
        Disk { dir: seat.dir.clone(), image: None, keeping }
    }

    /// The place of an instance that was made before.
    pub fn of(seat: &Seat) -> Disk {
        let image = seat.dir.join("disk.img");
        if image.exists() {
            Disk { dir: seat.dir.join("disk"), image: Some(image), keeping: Keeping::FileSystem }
        } else {
            Disk::directory(seat)
        }
    }

    /// Makes the place to write to.
    pub fn prepare(seat: &Seat, host: &Host) -> io::Result<Disk> {
        let size_mb = seat.instance.machine.disk_mb;
        let old = Disk::of(seat);
        if old.image.is_some() || seat.dir.join("upper").exists() {
            // a machine that is started again
            return Ok(old);
        }
        if size_mb > 0 && host.is_root && Path::new("/dev/loop-control").exists() {
            let templates = seat.dir.ancestors().nth(2).unwrap_or(&seat.dir).join("disks");
            match template(&templates, size_mb.max(SMALLEST_IMAGE_MB)) {
                Ok(template) => {
                    copy_sparse(&template, &seat.dir.join("disk.img"))?;
                    fs::create_dir_all(seat.dir.join("disk"))?;
                    return Ok(Disk::of(seat));
                }
                Err(error) => {
                    edge::say::warning(format!("the disk limit is watched only: {error}"), None);
                }
            }
        }
        Ok(Disk::directory(seat))
    }

    /// Mounts the image, if there is one; in the mount namespace of whoever is to use it.
    pub fn mount(&self) -> io::Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        let file = File::options().read(true).write(true).open(image)?;
        let mut last = io::Error::other("no loop device");
        for _ in 0..20 {
            let (device, _held) = match crate::process::attach_loop(&file) {
                Ok(device) => device,
                Err(error) => {
                    // another may have taken the free one in between
                    last = error;
                    continue;
                }
            };
            rustix::mount::mount(
                &device,
                &self.dir,
                "ext4",
                MountFlags::NOATIME | MountFlags::NODEV,
                Some(c"noinit_itable,nobarrier,nodiscard"),
            )?;
            return Ok(());
        }
        Err(last)
    }
}

/// An empty file system of a size, made once.
fn template(dir: &Path, size_mb: u64) -> io::Result<PathBuf> {
    let path = dir.join(format!("ext4-{size_mb}-1.img"));
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(dir)?;
    let new = dir.join(format!(".new-{size_mb}-{}", std::process::id()));
    File::create(&new)?.set_len(size_mb << 20)?;
    let made = Command::new("mkfs.ext4")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args([
            "-q",
            "-F",
            "-b",
            "4096",
            "-m",
            "0",
            "-i",
            "8192",
            "-O",
            "^has_journal,^resize_inode,^metadata_csum",
        ])
        .args(["-E", "lazy_itable_init=1,nodiscard"])
        .arg(&new)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()?;
    if !made.status.success() {
        let _ = fs::remove_file(&new);
        return Err(io::Error::other(format!("mkfs.ext4: {}", String::from_utf8_lossy(&made.stderr).trim())));
    }
    let thin = new.with_extension("thin");
    copy_sparse(&new, &thin)?;
    fs::remove_file(&new)?;
    fs::rename(&thin, &path)?;
    Ok(path)
}

/// Copies a file without its holes and its blocks of zeros.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = File::create(to)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    let mut block = vec![0; BLOCK];
    while let Ok(data) = rustix::fs::seek(&source, SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&source, SeekFrom::Hole(data)).unwrap_or(length);
        at = data;
        while at < end {
            let want = usize::try_from((end - at).min(BLOCK as u64)).unwrap_or(BLOCK);
            source.read_exact_at(&mut block[..want], at)?;
            if block[..want].iter().any(|byte| *byte != 0) {
                target.write_all_at(&block[..want], at)?;
            }
            at += want as u64;
        }
    }
    (&target).flush()
}

/// Bytes used and whether there is room left, of a mounted image; `root` is the root of the sandbox.
pub fn used_of_file_system(root: &Path) -> Option<(u64, bool)> {
    let stat = rustix::fs::statvfs(root).ok()?;
    let free = stat.f_bavail * stat.f_frsize;
    Some(((stat.f_blocks - stat.f_bfree) * stat.f_frsize, free < FULL_BYTES || stat.f_ffree == 0))
}

/// Room that the files below a directory take.
pub fn used_of_directory(dir: &Path) -> u64 {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => meta.blocks() * 512 + used_of_directory(&entry.path()),
            Ok(meta) => meta.blocks() * 512 / meta.nlink().max(1),
            Err(_) => 0,
        })
        .sum()
}

/// Looks at a watched disk: whether it holds more than it may, and when to look again. Looking costs at most a
/// twentieth of the time.
pub fn look(upper: &Path, limit_bytes: u64) -> (bool, Duration) {
    let begun = Instant::now();
    let over = used_of_directory(upper) >= limit_bytes;
    (over, (begun.elapsed() * 20).clamp(Duration::from_millis(250), Duration::from_secs(5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_copy_is_equal_and_small() {
        let dir = std::env::temp_dir().join(format!("sparse-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (from, to) = (dir.join("a"), dir.join("b"));
        let file = File::create(&from).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(b"one", 5).unwrap();
        file.write_all_at(&[0; 65536], 100_000).unwrap();
        file.write_all_at(b"two", 900_001).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() <= 32);
        crate::state::store::remove_tree(&dir);
    }
}
