//! What the EDIT options do to one entry.

use crate::checkout::Checkouts;
use crate::steps::{Edit, Step};
use catalog::{Entry, Name};
use edge::{Failure, Result};

/// Applies the edits of these steps to an entry, in order.
pub fn apply(
    steps: &[Step],
    edits: &[usize],
    checkouts: &mut Checkouts,
    name: &Name,
    entry: &mut Entry,
) -> Result<()> {
    for at in edits {
        match &steps[*at] {
            Step::Edit(Edit::To { target, commit }) => {
                let commit = commit
                    .as_deref()
                    .ok_or_else(|| Failure::bug("the commit of a target was not looked up"))?;
                let pointed = target.point(entry.source().unwrap_or_default());
                entry.point_to(&pointed, commit);
            }
            Step::Edit(Edit::ToCheckout(dir)) => {
                let (pointed, checksum) = checkouts.point(dir, name, entry)?;
                entry.point_to(&pointed, &checksum);
            }
            Step::Edit(Edit::Set { key, value: Some(value) }) => {
                if hidden_by_default(entry, key) {
                    edge::say::warning(
                        format!(
                            "\"{name}\": the default version has a \"{key}\" of its own, which still counts"
                        ),
                        Some(
                            "--set versions=JSON sets that one, --set versions=null takes all versions away",
                        ),
                    );
                }
                entry.hash_mut().set(key, value.clone());
            }
            Step::Edit(Edit::Set { key, value: None }) => {
                entry.hash_mut().remove(key);
            }
            Step::Edit(Edit::Remove | Edit::Keep) | Step::Select(_) | Step::Expand(_) | Step::Except(_) => {}
        }
    }
    Ok(())
}

fn hidden_by_default(entry: &Entry, key: &str) -> bool {
    let default = entry.versions().and_then(|versions| versions.get("default")?.as_hash());
    default.is_some_and(|default| default.get(key).is_some())
}
