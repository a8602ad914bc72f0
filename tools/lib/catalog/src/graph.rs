use std::collections::{BTreeMap, HashMap, VecDeque};

/// Who depends on whom, over the packages of one catalog.
///
/// Dependencies on packages that the catalog lacks are kept apart ([`Graph::missing`]). A dependency on `racket` is one
/// on `base` when the catalog has no package `racket`, as Racket's own package builder reads it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    names: Vec<String>,
    index: HashMap<String, usize>,
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
    missing: Vec<(usize, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a package to what it needs.
    Dependencies,
    /// From a package to what needs it.
    Dependents,
}

/// How a package was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Steps from the nearest start; 0 for a start.
    pub distance: usize,
    /// The package one step nearer to the start; itself for a start.
    pub via: usize,
}

impl Graph {
    /// Packages with the names they depend on. Packages are numbered in name order; a name twice is an error of the
    /// caller, and the first counts.
    pub fn new<N, D>(packages: impl IntoIterator<Item = (N, D)>) -> Graph
    where
        N: Into<String>,
        D: IntoIterator<Item = String>,
    {
        let mut sorted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, dependencies) in packages {
            sorted.entry(name.into()).or_insert_with(|| dependencies.into_iter().collect());
        }
        let names: Vec<String> = sorted.keys().cloned().collect();
        let index: HashMap<String, usize> =
            names.iter().cloned().enumerate().map(|(at, n)| (n, at)).collect();
        let mut graph = Graph {
            needs: vec![Vec::new(); names.len()],
            needed_by: vec![Vec::new(); names.len()],
            names,
            index,
            missing: Vec::new(),
        };
        for (from, dependencies) in sorted.into_values().enumerate() {
            for dependency in dependencies {
                match graph
                    .find(&dependency)
                    .or_else(|| graph.find("base").filter(|_| dependency == "racket"))
                {
                    Some(to) => graph.needs[from].push(to),
                    None => graph.missing.push((from, dependency)),
                }
            }
            graph.needs[from].sort_unstable();
            graph.needs[from].dedup();
        }
        for from in 0..graph.names.len() {
            for at in 0..graph.needs[from].len() {
                let to = graph.needs[from][at];
                graph.needed_by[to].push(from);
            }
        }
        graph
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
    /// Number of a package.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }
    pub fn name(&self, package: usize) -> &str {
        &self.names[package]
    }
    /// What it needs or what needs it, directly; sorted.
    pub fn next(&self, package: usize, direction: Direction) -> &[usize] {
        match direction {
            Direction::Dependencies => &self.needs[package],
            Direction::Dependents => &self.needed_by[package],
        }
    }
    /// Dependencies that the catalog lacks: package and missing name, sorted by package.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.missing.iter().map(|(from, name)| (self.names[*from].as_str(), name.as_str()))
    }

    /// Everything within `max_distance` steps of the starts (no limit when `None`), by package number; nearest way,
    /// and of equally near ones the first by name.
    pub fn reach(
        &self,
        starts: impl IntoIterator<Item = usize>,
        direction: Direction,
        max_distance: Option<usize>,
    ) -> BTreeMap<usize, Reached> {
        self.reach_avoiding(starts, direction, max_distance, &|_| false)
    }

    /// Like [`Graph::reach`], but packages to avoid are neither reached nor passed through.
    pub fn reach_avoiding(
        &self,
        starts: impl IntoIterator<Item = usize>,
        direction: Direction,
        max_distance: Option<usize>,
        avoid: &dyn Fn(usize) -> bool,
    ) -> BTreeMap<usize, Reached> {
        let mut reached = BTreeMap::new();
        let mut queue = VecDeque::new();
        let mut starts: Vec<usize> = starts.into_iter().filter(|start| !avoid(*start)).collect();
        starts.sort_unstable();
        for start in starts {
            if reached.insert(start, Reached { distance: 0, via: start }).is_none() {
                queue.push_back((start, 0));
            }
        }
        while let Some((package, distance)) = queue.pop_front() {
            if max_distance.is_some_and(|most| distance >= most) {
                continue;
            }
            for &next in self.next(package, direction) {
                if avoid(next) {
                    continue;
                }
                if let std::collections::btree_map::Entry::Vacant(vacant) = reached.entry(next) {
                    vacant.insert(Reached { distance: distance + 1, via: package });
                    queue.push_back((next, distance + 1));
                }
            }
        }
        reached
    }

    /// Packages in groups such that every group comes after all groups it depends on: a cycle of mutually dependent
    /// packages is one group, every other package a group of its own. Groups and their members in a fixed order.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        Tarjan::run(self)
    }

    /// Groups of packages that depend on each other (more than one, or one that names itself), each sorted.
    pub fn cycles(&self) -> Vec<Vec<usize>> {
        let mut cycles: Vec<Vec<usize>> = self.groups();
        cycles.retain(|group| group.len() > 1 || self.needs[group[0]].contains(&group[0]));
        cycles.sort_unstable();
        cycles
    }
}

/// Strongly connected components without recursion (a chain of 100,000 packages must not overflow the stack).
struct Tarjan<'g> {
    graph: &'g Graph,
    /// 0: not seen; else order of discovery, from 1.
    order: Vec<usize>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    found: usize,
    groups: Vec<Vec<usize>>,
}

impl Tarjan<'_> {
    fn run(graph: &Graph) -> Vec<Vec<usize>> {
        let size = graph.len();
        let mut tarjan = Tarjan {
            graph,
            order: vec![0; size],
            low: vec![0; size],
            on_stack: vec![false; size],
            stack: Vec::new(),
            found: 0,
            groups: Vec::new(),
        };
        for root in 0..size {
            if tarjan.order[root] == 0 {
                tarjan.visit(root);
            }
        }
        tarjan.groups
    }

    fn enter(&mut self, package: usize) {
        self.found += 1;
        self.order[package] = self.found;
        self.low[package] = self.found;
        self.stack.push(package);
        self.on_stack[package] = true;
    }

    fn visit(&mut self, root: usize) {
        self.enter(root);
        let mut path: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some((package, at)) = path.last_mut() {
            let package = *package;
            if let Some(&next) = self.graph.needs[package].get(*at) {
                *at += 1;
                if self.order[next] == 0 {
                    self.enter(next);
                    path.push((next, 0));
                } else if self.on_stack[next] {
                    self.low[package] = self.low[package].min(self.order[next]);
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                self.low[*parent] = self.low[*parent].min(self.low[package]);
            }
            if self.low[package] == self.order[package] {
                let at = self.stack.iter().rposition(|p| *p == package).unwrap_or(0);
                let mut group = self.stack.split_off(at);
                for member in &group {
                    self.on_stack[*member] = false;
                }
                group.sort_unstable();
                self.groups.push(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(text: &str) -> Graph {
        Graph::new(text.split(';').map(|line| {
            let (name, dependencies) = line.split_once(':').unwrap_or((line, ""));
            (name.trim(), dependencies.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        }))
    }
    fn names(graph: &Graph, packages: impl IntoIterator<Item = usize>) -> String {
        packages.into_iter().map(|p| graph.name(p)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn reach_by_distance() {
        let graph = graph("a: b c; b: d; c: d nowhere; d: ; e: a; f: racket; base: ");
        let start = graph.find("d");
        let reached = graph.reach(start, Direction::Dependents, None);
        assert_eq!(names(&graph, reached.keys().copied()), "a b c d e");
        assert_eq!(
            reached[&graph.find("a").unwrap()],
            Reached { distance: 2, via: graph.find("b").unwrap() }
        );
        let near = graph.reach(start, Direction::Dependents, Some(1));
        assert_eq!(names(&graph, near.keys().copied()), "b c d");
        let below = graph.reach(graph.find("e"), Direction::Dependencies, None);
        assert_eq!(names(&graph, below.keys().copied()), "a b c d e");
        assert_eq!(graph.missing().collect::<Vec<_>>(), [("c", "nowhere")]);
        let base = graph.reach(graph.find("base"), Direction::Dependents, None);
        assert_eq!(names(&graph, base.keys().copied()), "base f");
    }

    #[test]
    fn groups_come_after_what_they_need() {
        let graph = graph("a: b; b: c; c: a d; d: d; e: a; f:");
        let groups: Vec<String> = graph.groups().into_iter().map(|g| names(&graph, g)).collect();
        assert_eq!(groups, ["d", "a b c", "e", "f"]);
        let cycles: Vec<String> = graph.cycles().into_iter().map(|g| names(&graph, g)).collect();
        assert_eq!(cycles, ["a b c", "d"]);
    }

    #[test]
    fn a_long_chain_is_no_trouble() {
        let graph = Graph::new((0..100_000).map(|n| (format!("p{n:06}"), vec![format!("p{:06}", n + 1)])));
        assert_eq!(graph.groups().len(), 100_000);
        let all = graph.reach(graph.find("p099999"), Direction::Dependents, None);
        assert_eq!(all.len(), 100_000);
    }
}
