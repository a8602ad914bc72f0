use crate::model::facts::{PackageFacts, SideFacts};
use contract::report::Difference;
use std::collections::{BTreeMap, BTreeSet};

/// In what two sides differ. The packages that changed are what the comparison is for; anything else makes it one of unlike
/// things, which the headline says.
pub fn between(old: &SideFacts, new: &SideFacts, changed: &BTreeSet<String>) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut add = |what: &str, unlike: bool, sentence: String| {
        differences.push(Difference { what: what.to_owned(), sentence, unlike });
    };
    if !changed.is_empty() {
        let packages = if changed.len() == 1 {
            "1 package differs".to_owned()
        } else {
            format!("{} packages differ", changed.len())
        };
        add(
            "packages",
            false,
            format!("{packages} in content between the sides: {}", some(changed.iter(), 8)),
        );
    }
    let known_packages = old.manifest.is_some() && new.manifest.is_some();
    if differ(&old.sum.side.catalog_ids, &new.sum.side.catalog_ids) && (!known_packages || changed.is_empty())
    {
        add(
            "catalog",
            !known_packages,
            format!(
                "the catalogs are not the same ({} and {}){}",
                ids(&old.sum.side.catalog_ids),
                ids(&new.sum.side.catalog_ids),
                if known_packages { ", but every package in them has the same content" } else { "" }
            ),
        );
    }
    if let Some(sentence) = images(old, new) {
        add("image", true, sentence);
    }
    for (what, name, old, new) in [
        ("version", "language versions", &old.sum.side.versions, &new.sum.side.versions),
        ("recipe", "recipes", &old.sum.side.recipes, &new.sum.side.recipes),
    ] {
        if differ(old, new) {
            add(what, true, format!("the {name} are not the same (old {}, new {})", ids(old), ids(new)));
        }
    }
    let (old_limits, new_limits) = (&old.sum.side.limits, &new.sum.side.limits);
    if let ([old], [new]) = (&old_limits[..], &new_limits[..]) {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let different: Vec<String> = names
            .into_iter()
            .filter(|name| old.get(*name) != new.get(*name))
            .map(|name| {
                let value = |limits: &BTreeMap<String, u64>| {
                    limits.get(name).map_or("none".to_owned(), u64::to_string)
                };
                format!("{name} old {}, new {}", value(old), value(new))
            })
            .collect();
        if !different.is_empty() {
            add("limits", true, format!("the limits are not the same ({})", different.join("; ")));
        }
    }
    for side in [old, new] {
        let sum = &side.sum.side;
        let mixed: Vec<&str> = [
            // where the archives are known, what each package is made of is compared itself
            (sum.catalog_ids.len() > 1 && !known_packages, "catalogs"),
            (sum.versions.len() > 1, "versions"),
            (sum.limits.len() > 1 && old_limits != new_limits, "limits"),
        ]
        .into_iter()
        .filter_map(|(mixed, what)| mixed.then_some(what))
        .collect();
        if !mixed.is_empty() {
            add("mixed", true, format!("the {} side was run with several {}", side.label, mixed.join(", ")));
        }
    }
    differences
}

/// Packages that ran on another image than before. A side may have several: what does not pass on the minimal machine is tried
/// on another one, and that it is needed is a finding, no difference of the sides.
fn images(old: &SideFacts, new: &SideFacts) -> Option<String> {
    let (on_old, on_new) = (&old.sum.side.image_ids, &new.sum.side.image_ids);
    let of_both = |image: &String| on_old.contains(image) && on_new.contains(image);
    let elsewhere = new.states.iter().filter(|(name, now)| {
        let Some(was) = old.states.get(*name) else { return false };
        let known = !was.image_id.is_empty() && !now.image_id.is_empty();
        let needs = |facts: &PackageFacts| {
            facts
                .state
                .findings
                .iter()
                .any(|f| matches!(f.code.as_str(), "needs-extended" | "needs-fallback"))
        };
        known
            && !needs(was)
            && !needs(now)
            && was.image_id != now.image_id
            && !(of_both(&was.image_id) && of_both(&now.image_id))
    });
    match elsewhere.count() {
        0 => None,
        _ if on_old.len() == 1 && on_new.len() == 1 => {
            Some(format!("the machine images are not the same (old {}, new {})", ids(on_old), ids(on_new)))
        }
        1 => Some("1 package ran on another machine image than before".to_owned()),
        n => Some(format!("{n} packages ran on other machine images than before")),
    }
}

fn differ(old: &BTreeSet<String>, new: &BTreeSet<String>) -> bool {
    !old.is_empty() && !new.is_empty() && old.len() == 1 && new.len() == 1 && old != new
}

fn ids(ids: &BTreeSet<String>) -> String {
    let short = |id: &String| crate::input::log::clean_line(id).chars().take(24).collect::<String>();
    ids.iter().map(short).collect::<Vec<_>>().join(", ")
}

/// The first few names, and how many more.
pub fn some<'a>(names: impl ExactSizeIterator<Item = &'a String>, most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let mut text = names.take(most).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
