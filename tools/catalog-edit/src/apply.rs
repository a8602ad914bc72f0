//! What the EDIT options do to one entry.

use crate::args::Config;
use crate::checkout::Checkouts;
use crate::steps::{Edit, Step};
use catalog::{Entry, Name, Pointed};
use edge::{Failure, Result};

/// Applies the edits of these steps to an entry, in order.
pub fn apply(
    config: &Config,
    edits: &[usize],
    checkouts: &mut Checkouts,
    name: &Name,
    entry: &mut Entry,
) -> Result<()> {
    for at in edits {
        match &config.steps[*at] {
            Step::Edit(Edit::To { target, commit }) => {
                let commit = commit
                    .as_deref()
                    .ok_or_else(|| Failure::bug("the commit of a target was not looked up"))?;
                let pointed = target.point(entry.source().unwrap_or_default());
                point(config, name, entry, &pointed, commit);
            }
            Step::Edit(Edit::ToCheckout(dir)) => {
                let (pointed, checksum) = checkouts.point(dir, name, entry)?;
                point(config, name, entry, &pointed, &checksum);
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

fn point(config: &Config, name: &Name, entry: &mut Entry, pointed: &Pointed, checksum: &str) {
    if config.every_version {
        return entry.point_every_version_to(pointed, checksum);
    }
    entry.point_to(pointed, checksum);
    let versions = entry.versions().map(|versions| versions.items.as_slice()).unwrap_or_default();
    let others: Vec<&str> = versions.iter().filter_map(|(version, _)| version.as_str()).collect();
    if !others.is_empty() {
        edge::say::detail(format!(
            "\"{name}\": still from elsewhere for Racket {} (see --every-version)",
            others.join(", ")
        ));
    }
}

fn hidden_by_default(entry: &Entry, key: &str) -> bool {
    let default = entry.versions().and_then(|versions| versions.get("default")?.as_hash());
    default.is_some_and(|default| default.get(key).is_some())
}
