use crate::model::depend::Graph;
use crate::pages::html::{Html, put};
use crate::pages::package_href;
use contract::report::{Report, Verdict};
use std::collections::BTreeMap;

/// More nodes than this are no picture any more.
const NODES: usize = 70;
/// Space of a node, and between layers.
const WIDTH: f64 = 168.0;
const HEIGHT: f64 = 24.0;
const GAP: f64 = 56.0;

/// What regressed, and the changed packages it depends on: dependencies on the left, what fell with them on the right. `None`
/// where there is nothing that hangs together, or too much of it.
pub fn fallen(report: &Report, graph: &Graph) -> Option<Html> {
    let mut chosen: Vec<usize> = report
        .packages
        .iter()
        .filter(|entry| entry.verdict == Verdict::Regressed || (entry.changed && !report.groups.is_empty()))
        .filter_map(|entry| graph.number(&entry.package))
        .collect();
    chosen.sort_unstable();
    let edges: Vec<(usize, usize)> = chosen
        .iter()
        .flat_map(|from| graph.dependencies[*from].iter().map(move |on| (*on, *from)))
        .filter(|(on, _)| chosen.binary_search(on).is_ok())
        .collect();
    chosen.retain(|n| edges.iter().any(|(on, from)| on == n || from == n));
    if edges.is_empty() || chosen.len() > NODES {
        return None;
    }
    // layer: longest way from a package that depends on none of the others; cycles stop it from growing
    let mut layer: BTreeMap<usize, usize> = chosen.iter().map(|n| (*n, 0)).collect();
    for _ in 0..chosen.len().min(12) {
        for (on, from) in &edges {
            let below = layer[on] + 1;
            if layer[from] < below && below <= 12 {
                layer.insert(*from, below);
            }
        }
    }
    let mut columns: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (n, at) in &layer {
        columns.entry(*at).or_default().push(*n);
    }
    let mut place: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    let mut tallest = 0;
    for (column, (_, nodes)) in columns.iter_mut().enumerate() {
        // beside what they depend on, so that few lines cross
        let middle = |n: &usize| {
            let ys: Vec<f64> = edges
                .iter()
                .filter(|(_, from)| from == n)
                .filter_map(|(on, _)| Some(place.get(on)?.1))
                .collect();
            if ys.is_empty() { 0.0 } else { ys.iter().sum::<f64>() / ys.len() as f64 }
        };
        let keys: BTreeMap<usize, f64> = nodes.iter().map(|n| (*n, middle(n))).collect();
        nodes.sort_by(|a, b| keys[a].total_cmp(&keys[b]).then(a.cmp(b)));
        for (row, n) in nodes.iter().enumerate() {
            place.insert(*n, (8.0 + column as f64 * (WIDTH + GAP), 8.0 + row as f64 * (HEIGHT + 10.0)));
        }
        tallest = tallest.max(nodes.len());
    }
    let width = columns.len() as f64 * (WIDTH + GAP) - GAP + 16.0;
    let height = tallest as f64 * (HEIGHT + 10.0) + 8.0;
    let mut h = Html::new();
    put!(
        h,
        "<svg width=\"",
        (width),
        "\" height=\"",
        (height),
        "\" viewBox=\"0 0 ",
        (width),
        " ",
        (height),
        "\" role=\"group\" aria-label=\"packages that regressed, each to the right of what it depends on\">"
    );
    for (on, from) in &edges {
        let ((x1, y1), (x2, y2)) = (place[on], place[from]);
        let (x1, y1, y2) = (x1 + WIDTH, y1 + HEIGHT / 2.0, y2 + HEIGHT / 2.0);
        let half = (x2 - x1).abs().max(20.0) / 2.0;
        put!(
            h,
            "<path class=\"edge\" d=\"M",
            (x1),
            " ",
            (y1),
            " C",
            (x1 + half),
            " ",
            (y1),
            " ",
            (x2 - half),
            " ",
            (y2),
            " ",
            (x2),
            " ",
            (y2),
            "\"/>"
        );
    }
    for (n, (x, y)) in &place {
        let name = &graph.names[*n];
        let entry = crate::pages::entry(report, name);
        let verdict = entry.map_or("pending", |entry| entry.verdict.name());
        let changed = if entry.is_some_and(|entry| entry.changed) { " changed" } else { "" };
        let short: String = if name.chars().count() > 22 {
            name.chars().take(21).chain(['…']).collect()
        } else {
            name.clone()
        };
        put!(
            h,
            "<a href=\"",
            (package_href(name)),
            "\"><title>",
            (name),
            "</title><g class=\"node ",
            (verdict),
            (changed),
            "\"><rect class=\"box\" x=\"",
            (x),
            "\" y=\"",
            (y),
            "\" width=\"",
            (WIDTH),
            "\" height=\"",
            (HEIGHT),
            "\" rx=\"5\"/><text x=\"",
            (x + 8.0),
            "\" y=\"",
            (y + 16.0),
            "\">",
            (short),
            "</text></g></a>"
        );
    }
    put!(h, "</svg>\n");
    Some(h)
}
