//! Opens what is below a directory, and never what is not: the kernel itself refuses to resolve a path beyond it.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Opens `relative` below `dir` (which is canonical) for reading. A symbolic link is followed as long as it ends up
/// below `dir`. Errors: `NotFound`, `PermissionDenied` (also for a link that leads outside), and others of open(2).
pub fn open_below(dir: &Path, relative: &Path) -> io::Result<File> {
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    match open_beneath(dir, relative) {
        Err(Errno::XDEV | Errno::NOSYS | Errno::PERM | Errno::INVAL) => {}
        other => return other.map_err(io::Error::from),
    }
    // A link with an absolute target, or one that leads outside; or a kernel without openat2.
    let real = dir.join(relative).canonicalize()?;
    let Ok(inside) = real.strip_prefix(dir) else { return Err(io::ErrorKind::PermissionDenied.into()) };
    match open_beneath(dir, inside) {
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => open_step_by_step(dir, inside),
        other => other.map_err(io::Error::from),
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn open_beneath(dir: &Path, relative: &Path) -> Result<File, Errno> {
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(dir, relative, FLAGS, Mode::empty(), resolve).map(File::from)
}

/// For kernels without openat2: the path has no links left in it, so none is followed.
fn open_step_by_step(dir: &Path, relative: &Path) -> io::Result<File> {
    let mut here = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let parts: Vec<PathBuf> = relative.components().map(|part| PathBuf::from(part.as_os_str())).collect();
    let Some((last, above)) = parts.split_last() else {
        return Ok(rustix::fs::openat(here, ".", FLAGS, Mode::empty())?.into());
    };
    for part in above {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        here = rustix::fs::openat(here, part, flags, Mode::empty())?;
    }
    Ok(rustix::fs::openat(here, last, FLAGS | OFlags::NOFOLLOW, Mode::empty())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn read(file: io::Result<File>) -> Result<String, io::ErrorKind> {
        let mut text = String::new();
        file.and_then(|mut file| file.read_to_string(&mut text)).map_err(|error| error.kind())?;
        Ok(text)
    }

    #[test]
    fn links_are_followed_only_inside() {
        let outer = tempfile::tempdir().unwrap();
        let outer = outer.path().canonicalize().unwrap();
        let dir = outer.join("site");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::write(outer.join("secret"), "secret").unwrap();
        std::fs::write(dir.join("file"), "file").unwrap();
        symlink("../file", dir.join("sub/relative")).unwrap();
        symlink(dir.join("file"), dir.join("absolute")).unwrap();
        symlink(dir.join("sub"), dir.join("dirlink")).unwrap();
        symlink("../secret", dir.join("out")).unwrap();
        symlink(outer.join("secret"), dir.join("out-absolute")).unwrap();
        symlink("..", dir.join("up")).unwrap();
        symlink("circle", dir.join("circle")).unwrap();
        symlink("nowhere", dir.join("dangling")).unwrap();
        // two ways to open, one answer
        for open in [open_below, |dir: &Path, relative: &Path| {
            let real = dir.join(relative).canonicalize()?;
            let Ok(inside) = real.strip_prefix(dir) else {
                return Err(io::ErrorKind::PermissionDenied.into());
            };
            open_step_by_step(dir, inside)
        }] {
            for inside in ["file", "sub/relative", "absolute", "dirlink/relative"] {
                assert_eq!(read(open(&dir, Path::new(inside))).as_deref(), Ok("file"), "{inside}");
            }
            for outside in ["out", "out-absolute", "up/secret"] {
                let got = read(open(&dir, Path::new(outside)));
                assert_eq!(got, Err(io::ErrorKind::PermissionDenied), "{outside}");
            }
            assert_eq!(read(open(&dir, Path::new("dangling"))), Err(io::ErrorKind::NotFound));
            assert!(open(&dir, Path::new("circle")).is_err());
            assert!(open(&dir, Path::new("")).unwrap().metadata().unwrap().is_dir());
        }
        assert!(open_below(&dir, Path::new("../secret")).is_err());
        assert!(open_below(&dir, &outer.join("secret")).is_err());
    }
}
