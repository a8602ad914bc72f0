//! Files in and out, through exec: any machine that can run tar can do it.

use crate::drivers::Request;
use crate::instance::exec::enter;
use crate::state::store::{Seat, Store};
use edge::{Context, Exit, Failure, Result};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Copies `from` (file or directory) to the path `to` inside.
pub fn copy_in(store: &Store, id: &str, from: &Path, to: &str) -> Result<()> {
    let seat = store.living(id)?;
    let (parent, name) = split(from)?;
    let mut pack = Command::new("tar");
    pack.arg("-cf").arg("-").arg("-C").arg(parent).arg("--").arg(name);
    let script = r#"set -e; case $1 in */) mkdir -p "$1";; esac
p=$(dirname "$1"); mkdir -p "$p"
t=$(mktemp -d "$p/.copy-XXXXXX" 2>/dev/null || mktemp -d "${TMPDIR:-/tmp}/copy-XXXXXX"); trap 'rm -rf "$t"' EXIT; tar -xf - -C "$t"
if [ -d "$1" ] && [ ! -d "$t/$2" ]; then cp -a "$t/$2" "$1/"; elif [ -d "$1" ]; then cp -a "$t/$2/." "$1/"; else mv -fT "$t/$2" "$1"; fi"#;
    let mut unpack = enter(&seat, &inside(script, &[to.into(), name.into()]))?;
    let mut copy = || {
        let mut pack = pack.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let unpack = unpack.stdin(pack.stdout.take().map_or_else(Stdio::null, Stdio::from)).spawn()?;
        Ok::<_, std::io::Error>((pack, unpack))
    };
    finish(&seat, copy().context(Exit::Unavailable, || "cannot run tar".to_owned())?)
}

/// Copies the path `from` inside (file or directory) to `to`.
pub fn copy_out(store: &Store, id: &str, from: &str, to: &Path) -> Result<()> {
    let seat = store.living(id)?;
    let (_, name) = split(Path::new(from))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = parent.join(format!(".copy-out-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)
        .context(Exit::CantCreate, || format!("cannot write \"{}\"", to.display()))?;
    let cleanup = scratch.clone();
    let _cleanup = edge::on_exit(move || crate::state::store::remove_tree(&cleanup));
    let script = r#"cd "$(dirname "$1")" && exec tar -cf - -- "$2""#;
    let mut pack = enter(&seat, &inside(script, &[from.into(), name.into()]))?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg("-").arg("--no-same-owner").arg("-C").arg(&scratch);
    let mut copy = || {
        let mut pack = pack.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let unpack = unpack.stdin(pack.stdout.take().map_or_else(Stdio::null, Stdio::from)).spawn()?;
        Ok::<_, std::io::Error>((pack, unpack))
    };
    finish(&seat, copy().context(Exit::Unavailable, || "cannot run tar".to_owned())?)?;
    let target = if to.is_dir() { to.join(name) } else { to.to_owned() };
    std::fs::rename(scratch.join(name), &target)
        .context(Exit::CantCreate, || format!("cannot write \"{}\"", target.display()))
}

fn split(path: &Path) -> Result<(&Path, &std::ffi::OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            Ok((if parent.as_os_str().is_empty() { Path::new(".") } else { parent }, name))
        }
        _ => Err(Failure::usage(format!("cannot copy \"{}\": it has no name", path.display()))),
    }
}

fn inside(script: &str, args: &[OsString]) -> Request {
    let mut argv: Vec<OsString> = vec!["/bin/sh".into(), "-c".into(), script.into(), "copy".into()];
    argv.extend(args.iter().cloned());
    Request { argv, ..Request::default() }
}

fn finish(seat: &Seat, (mut pack, mut unpack): (Child, Child)) -> Result<()> {
    let ends = [pack.wait(), unpack.wait()];
    for end in ends {
        let status = end.context(Exit::TryAgain, || "cannot wait for tar".to_owned())?;
        if !status.success() {
            return Err(Failure::new(
                Exit::No,
                format!("cannot copy to or from \"{}\": tar ended with {status}", seat.instance.id),
            ));
        }
    }
    Ok(())
}
