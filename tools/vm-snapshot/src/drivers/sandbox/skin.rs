//! The skin: the layer between the host and everything else. It hides what is private, and brings the user, the home
//! and the work directory. Made once for each content, kept by its hash.

use super::host::Host;
use super::plan::{Item, USER_ID};
use rustix::fs::XattrFlags;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Directory of the skin with these items; made if it is not there.
pub fn directory(skins: &Path, items: &[Item], host: &Host) -> io::Result<PathBuf> {
    let dir = skins.join(name(items, host));
    if !dir.exists() {
        fs::create_dir_all(skins)?;
        let new = skins.join(format!(".new-{}", std::process::id()));
        crate::state::store::remove_tree(&new);
        fs::create_dir(&new)?;
        for item in items {
            make(&new, item, host)?;
        }
        // another may have been faster: its skin is the same
        if fs::rename(&new, &dir).is_err() {
            crate::state::store::remove_tree(&new);
        }
    }
    Ok(dir)
}

/// Hash of all that the skin depends on.
pub fn name(items: &[Item], host: &Host) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(items).unwrap_or_default());
    hash.update(if host.is_root { "root" } else { "user" });
    for item in items {
        if let Item::OwnTree { from, .. } = item {
            let time = fs::metadata(from).and_then(|meta| meta.modified()).ok();
            hash.update(format!("{from:?} {time:?}"));
        }
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn make(skin: &Path, item: &Item, host: &Host) -> io::Result<()> {
    match item {
        Item::Dir { path, mode, user, opaque } => {
            let path = skin.join(path);
            if !path.is_dir() {
                fs::create_dir(&path)?;
            }
            finish_dir(&path, *mode, *user, host)?;
            if *opaque {
                let name = if host.is_root { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
                rustix::fs::setxattr(&path, name, b"y", XattrFlags::empty())?;
            }
            Ok(())
        }
        Item::File { path, mode, text } => {
            let path = skin.join(path);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))
        }
        Item::Link { path, to } => symlink(to, skin.join(path)),
        Item::OwnTree { path, from } => {
            let target = skin.join(path);
            let mut outer: Vec<&Path> =
                target.ancestors().skip(1).take_while(|dir| *dir != skin && !dir.exists()).collect();
            outer.reverse();
            for dir in outer {
                fs::create_dir(dir)?;
                fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
            }
            own_tree(&target, from, host)
        }
    }
}

fn own_tree(target: &Path, from: &Path, host: &Host) -> io::Result<()> {
    if !target.is_dir() {
        fs::create_dir(target)?;
    }
    finish_dir(target, 0o755, true, host)?;
    for entry in fs::read_dir(from)?.flatten() {
        if entry.file_type()?.is_dir() {
            own_tree(&target.join(entry.file_name()), &entry.path(), host)?;
        }
    }
    Ok(())
}

fn finish_dir(path: &Path, mode: u32, user: bool, host: &Host) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if user && host.is_root {
        lchown(path, Some(USER_ID), Some(USER_ID))?;
    }
    Ok(())
}
