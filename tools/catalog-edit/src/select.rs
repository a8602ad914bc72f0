//! Which packages a command line selects, and what happens to each. Pure.

use crate::steps::{Edit, Expand, Selector, Step};
use catalog::{Direction, Entry, Graph, Name, Platform, Repository, Source, near_names};
use contract::package::{Role, Why};
use std::collections::{BTreeMap, BTreeSet};

/// What has to be remembered of one package while the others are read.
#[derive(Debug)]
pub struct Member {
    pub name: Name,
    /// Steps that select it by itself.
    hits: Vec<usize>,
    needs: Vec<String>,
    repository: Option<String>,
}

/// What happens to one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// `None` when it was never selected.
    pub why: Option<Why>,
    /// Steps that edit its entry, in order.
    pub edits: Vec<usize>,
    /// No longer in the catalog, or (when nothing is edited) not part of the answer.
    pub gone: bool,
}

/// Something that was asked for and is not in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// `package "gui-lbi"`, `any package served from github.com/u/r`
    pub what: String,
    pub near: Vec<String>,
}

/// Notes what the steps need to know of a package.
pub fn examine(steps: &[Step], platform: Option<&Platform>, name: &Name, entry: &Entry) -> Member {
    let repositories = repositories(steps, entry);
    let hit = |selector: &Selector| match selector {
        Selector::Package(wanted) | Selector::Around(wanted, _) => wanted == name,
        Selector::Repository(wanted) => repositories.iter().any(|found| wanted.contains(found)),
        Selector::Ring(ring) => entry.ring() == Some(*ring),
        Selector::Tag(tag) => entry.tags().contains(&tag.as_str()),
        Selector::Author(author) => is_author(entry, author),
        Selector::Match(regex) => regex.is_match(name.as_str()),
        Selector::NamesFrom(_, names) => names.binary_search(name).is_ok(),
        Selector::All => true,
    };
    let hits = steps.iter().enumerate().filter_map(|(at, step)| match step {
        Step::Select(selector) if hit(selector) => Some(at),
        _ => None,
    });
    let graph_is_needed =
        steps.iter().any(|step| matches!(step, Step::Expand(_) | Step::Select(Selector::Around(..))));
    Member {
        name: name.clone(),
        hits: hits.collect(),
        needs: if graph_is_needed { entry.dependency_names(platform) } else { Vec::new() },
        repository: repositories.first().map(Repository::to_string),
    }
}

/// Repositories of the source at the top and of the `default` version.
fn repositories(steps: &[Step], entry: &Entry) -> Vec<Repository> {
    if !steps.iter().any(|step| matches!(step, Step::Select(Selector::Repository(_)))) {
        return Vec::new();
    }
    let default =
        entry.versions().and_then(|versions| versions.get("default")?.as_hash()?.get("source")?.as_str());
    let mut sources: Vec<&str> = entry.source().into_iter().chain(default).collect();
    sources.dedup();
    sources.into_iter().filter_map(|source| Source::parse(source).ok()?.repository()).collect()
}

/// An address of `author` or `authors` is `wanted`, or begins with it before the `@`.
fn is_author(entry: &Entry, wanted: &str) -> bool {
    let listed = entry.hash().get("authors").and_then(|authors| authors.as_list()).unwrap_or_default();
    let addresses = entry.author().unwrap_or_default().split_whitespace();
    addresses.chain(listed.iter().filter_map(|author| author.as_str())).any(|address| {
        let before_at = address.split('@').next().unwrap_or(address);
        address.eq_ignore_ascii_case(wanted) || before_at.eq_ignore_ascii_case(wanted)
    })
}

/// What happens to each package, in the order of `members`; or everything that was asked for and is not there.
pub fn decide(steps: &[Step], members: &[Member]) -> Result<Vec<Fate>, Vec<Absent>> {
    let absent = absent(steps, members);
    if !absent.is_empty() {
        return Err(absent);
    }
    let graph = Graph::new(members.iter().map(|member| (member.name.as_str(), member.needs.iter().cloned())));
    // the graph numbers packages by name
    let mut by_name: Vec<usize> = (0..members.len()).collect();
    by_name.sort_by(|a, b| members[*a].name.cmp(&members[*b].name));
    let avoid = steps.iter().filter_map(|step| match step {
        Step::Except(name) => graph.find(name.as_str()),
        _ => None,
    });
    let mut world =
        World { members, graph: &graph, by_name: &by_name, avoid: avoid.collect(), ever: Selection::new() };
    let mut fates = vec![Fate::default(); members.len()];
    let mut keep = !steps.iter().any(|step| matches!(step, Step::Edit(_)));
    for (selection, edits) in groups(steps) {
        let selected = world.select(selection);
        for (step, edit) in edits {
            match edit {
                Edit::Keep => keep = true,
                Edit::Remove => selected.keys().for_each(|at| fates[by_name[*at]].gone = true),
                Edit::To { .. } | Edit::ToCheckout(_) | Edit::Set { .. } => {
                    selected.keys().for_each(|at| fates[by_name[*at]].edits.push(step));
                }
            }
        }
    }
    for (at, why) in world.ever {
        fates[by_name[at]].why = Some(why);
    }
    for fate in &mut fates {
        fate.gone |= keep && fate.why.is_none();
    }
    Ok(fates)
}

type Selection = BTreeMap<usize, Why>;
type Group<'s> = (Vec<(usize, &'s Step)>, Vec<(usize, &'s Edit)>);

/// A selection and the edits of what it selects.
fn groups(steps: &[Step]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match (step, groups.last_mut()) {
            (Step::Except(_), _) => {}
            (Step::Edit(edit), Some((_, edits))) => edits.push((at, edit)),
            (Step::Edit(edit), None) => groups.push((Vec::new(), vec![(at, edit)])),
            (step, Some((selection, edits))) if edits.is_empty() => selection.push((at, step)),
            (step, _) => groups.push((vec![(at, step)], Vec::new())),
        }
    }
    groups
}

struct World<'a> {
    members: &'a [Member],
    graph: &'a Graph,
    by_name: &'a [usize],
    /// Never selected, nor passed through.
    avoid: BTreeSet<usize>,
    /// Everything selected so far.
    ever: Selection,
}

impl World<'_> {
    fn select(&mut self, selection: Vec<(usize, &Step)>) -> Selection {
        let goes_on = !selection.iter().any(|(_, step)| matches!(step, Step::Select(_)));
        let mut selected = if goes_on { self.ever.clone() } else { Selection::new() };
        for (at, step) in &selection {
            if let Step::Select(selector) = step {
                self.add_hits(*at, selector, &mut selected);
            }
        }
        // dependents first, whatever the order: what is only needed does not count as changed
        for direction in [Direction::Dependents, Direction::Dependencies] {
            for (_, step) in &selection {
                let (starts, expand) = match step {
                    Step::Expand(expand) => (self.starts(&selected, direction), expand),
                    Step::Select(Selector::Around(name, expand)) => {
                        (self.graph.find(name.as_str()).into_iter().collect(), expand)
                    }
                    _ => continue,
                };
                if expand.direction == direction {
                    self.expand(&starts, expand, &mut selected);
                }
            }
        }
        for (package, why) in &selected {
            let known = self.ever.get(package);
            if known.is_none_or(|known| known.role > why.role) {
                self.ever.insert(*package, why.clone());
            }
        }
        selected
    }

    fn add_hits(&self, step: usize, selector: &Selector, selected: &mut Selection) {
        for (package, member) in self.by_name.iter().enumerate() {
            if self.members[*member].hits.contains(&step) && !self.avoid.contains(&package) {
                let reason = selector.to_string();
                selected.entry(package).or_insert(Why { role: Role::Selected, reason, chain: Vec::new() });
            }
        }
    }

    /// What an expansion starts from: dependents are those of changed packages, not of everything that they need.
    fn starts(&self, selected: &Selection, direction: Direction) -> Vec<usize> {
        let counts = |role: Role| direction == Direction::Dependencies || role != Role::Dependency;
        selected.iter().filter(|(_, why)| counts(why.role)).map(|(package, _)| *package).collect()
    }

    fn expand(&self, starts: &[usize], expand: &Expand, selected: &mut Selection) {
        let avoid = |package| self.avoid.contains(&package);
        let starts = starts.iter().copied();
        let reached = self.graph.reach_avoiding(starts, expand.direction, expand.depth, &avoid);
        let before = selected.clone();
        for (package, _) in reached.iter().filter(|(_, reached)| reached.distance > 0) {
            if selected.contains_key(package) {
                continue;
            }
            let mut chain = vec![self.graph.name(*package).to_owned()];
            let mut at = *package;
            while reached[&at].distance > 0 {
                at = reached[&at].via;
                chain.push(self.graph.name(at).to_owned());
            }
            let start = before.get(&at).map(|why| why.reason.as_str()).unwrap_or("selected");
            selected.insert(*package, because(expand.direction, chain, start));
        }
    }
}

/// The sentence for a chain of packages that ends at one that was selected for the reason `start`.
fn because(direction: Direction, chain: Vec<String>, start: &str) -> Why {
    let (role, verb) = match direction {
        Direction::Dependents => (Role::Dependent, "depends on"),
        Direction::Dependencies => (Role::Dependency, "is needed by"),
    };
    let links: Vec<String> = chain[1..].iter().map(|name| format!("{verb} {name}")).collect();
    let reason = format!("{} ({start})", links.join(", which "));
    Why { role, reason, chain }
}

/// Everything that the steps name and that no package has.
fn absent(steps: &[Step], members: &[Member]) -> Vec<Absent> {
    let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let mut absent: Vec<Absent> = Vec::new();
    let mut missing_name = |name: &Name| {
        if !names.contains(name.as_str()) {
            let near =
                near_names(name.as_str(), names.iter().copied()).into_iter().map(str::to_owned).collect();
            absent.push(Absent { what: format!("package \"{name}\""), near });
        }
    };
    for step in steps {
        match step {
            Step::Select(Selector::Package(name) | Selector::Around(name, _)) | Step::Except(name) => {
                missing_name(name);
            }
            Step::Select(Selector::NamesFrom(_, names)) => names.iter().for_each(&mut missing_name),
            _ => {}
        }
    }
    for (at, step) in steps.iter().enumerate() {
        let Step::Select(selector) = step else { continue };
        if members.iter().any(|member| member.hits.contains(&at)) {
            continue;
        }
        let what = match selector {
            Selector::Package(_) | Selector::Around(..) | Selector::NamesFrom(..) | Selector::All => continue,
            Selector::Match(regex) => format!("any package whose name matches \"{regex}\""),
            Selector::Tag(_) | Selector::Ring(_) | Selector::Author(_) | Selector::Repository(_) => {
                format!("any package {selector}")
            }
        };
        let near = match selector {
            Selector::Repository(wanted) => near_repositories(wanted, members),
            _ => Vec::new(),
        };
        absent.push(Absent { what, near });
    }
    absent.dedup();
    absent
}

fn near_repositories(wanted: &Repository, members: &[Member]) -> Vec<String> {
    let known: BTreeSet<&str> = members.iter().filter_map(|member| member.repository.as_deref()).collect();
    let wanted = wanted.to_string();
    let mut near: Vec<String> = Vec::new();
    // the same name under another owner is what a fork looks like
    let last = wanted.rsplit('/').next().unwrap_or_default();
    near.extend(known.iter().filter(|r| r.rsplit('/').next() == Some(last)).take(3).map(|r| (*r).to_owned()));
    for name in near_names(&wanted, known.iter().copied()) {
        if near.len() < 3 && !near.iter().any(|known| known == name) {
            near.push(name.to_owned());
        }
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// `name: dependencies; …`, tags being the letters of the name.
    fn members(steps: &[Step], text: &str) -> Vec<Member> {
        let packages = text.split(';').map(|package| {
            let (name, dependencies) = package.split_once(':').unwrap_or((package, ""));
            let quoted =
                |words: Vec<&str>| words.iter().map(|word| format!("\"{word}\" ")).collect::<String>();
            let tags = quoted(name.trim().split("").filter(|letter| !letter.is_empty()).collect());
            let dependencies = quoted(dependencies.split_whitespace().collect());
            let entry = format!("#hash((tags . ({tags})) (dependencies . ({dependencies})))");
            let entry = catalog::read_entry(entry.as_bytes()).unwrap();
            examine(steps, None, &Name::new(name.trim()).unwrap(), &entry)
        });
        packages.collect()
    }

    fn tag(tag: &str) -> Step {
        Step::Select(Selector::Tag(tag.to_owned()))
    }
    fn with(expand: Expand) -> Step {
        Step::Expand(expand)
    }
    fn set() -> Step {
        Step::Edit(Edit::Set { key: "x".to_owned(), value: None })
    }

    /// `edited`, `selected` (role), `gone` in one line a package.
    fn fates(steps: &[Step], text: &str) -> BTreeMap<String, String> {
        let members = members(steps, text);
        let fates = decide(steps, &members).unwrap();
        let told = |fate: &Fate| {
            let role = fate.why.as_ref().map_or(String::new(), |why| format!("{:?}", why.role));
            format!("{role}{}{}", "!".repeat(fate.edits.len()), if fate.gone { " gone" } else { "" })
        };
        members.iter().zip(&fates).map(|(member, fate)| (member.name.to_string(), told(fate))).collect()
    }

    const WORLD: &str = "base; c: base; c-user: c; d: base; d-user: d c-user; other: base tool; tool";

    #[test]
    fn an_edit_changes_what_was_selected_before_it() {
        let steps =
            [tag("c"), set(), Step::Select(Selector::Match(regex::Regex::new("^d").unwrap())), set(), set()];
        let fates = fates(&steps, WORLD);
        let told: Vec<&str> = fates.values().map(String::as_str).collect();
        // base c c-user d d-user other tool
        assert_eq!(told, ["", "Selected!", "Selected!", "Selected!!", "Selected!!", "", ""]);
    }

    #[test]
    fn the_subset_is_what_changed_what_depends_on_it_and_what_these_need() {
        let name = |name| Step::Select(Selector::Package(Name::new(name).unwrap()));
        let keep = || Step::Edit(Edit::Keep);
        for order in
            [[Expand::dependents(), Expand::dependencies()], [Expand::dependencies(), Expand::dependents()]]
        {
            let steps = [name("c"), set(), name("d"), set(), with(order[0]), with(order[1]), keep()];
            let fates = fates(&steps, WORLD);
            let told: Vec<&str> = fates.values().map(String::as_str).collect();
            assert_eq!(
                told,
                ["Dependency", "Selected!", "Dependent", "Selected!", "Dependent", " gone", " gone"]
            );
        }
    }

    #[test]
    fn nearest_reason_and_whole_chain() {
        let steps = [Step::Select(Selector::Around(Name::new("c").unwrap(), Expand::dependents()))];
        let members = members(&steps, WORLD);
        let fates = decide(&steps, &members).unwrap();
        let why = |name: &str| {
            let at = members.iter().position(|member| member.name.as_str() == name).unwrap();
            fates[at].why.clone().map(|why| (why.reason, why.chain.join(" ")))
        };
        let expected =
            ("depends on c-user, which depends on c (named)".to_owned(), "d-user c-user c".to_owned());
        assert_eq!(why("d-user"), Some(expected));
        assert_eq!(why("c"), Some(("named".to_owned(), String::new())));
        assert_eq!(why("base"), None);
        // nothing is edited: what is not selected is no part of the answer
        assert!(fates.iter().all(|fate| fate.gone == fate.why.is_none()));
    }

    #[test]
    fn what_is_excepted_is_not_passed_through() {
        let except = |name| Step::Except(Name::new(name).unwrap());
        let steps = [tag("c"), set(), with(Expand::dependents()), set(), except("c-user")];
        let fates = fates(&steps, "c; c-user: c; x: c-user; y: c");
        let told: Vec<&str> = fates.values().map(String::as_str).collect();
        assert_eq!(told, ["Selected!!", "", "", "Dependent!"]);
    }
}
