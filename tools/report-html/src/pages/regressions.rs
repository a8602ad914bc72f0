use crate::input::evidence::Excerpt;
use crate::model::facts::outcome_name;
use crate::model::headline::{count, packages};
use crate::model::state_phrase;
use crate::pages::html::{Html, file_name, put};
use crate::pages::index::capital;
use crate::pages::package::strip;
use crate::pages::{entry, names, package_link, short};
use contract::report::{Entry, Group, Report, Verdict};
use std::collections::BTreeMap;

/// More groups than this are told in a line each.
pub const GROUPS_IN_FULL: usize = 60;
/// Rows of a card.
const ROWS: usize = 200;
/// Nodes of one tree.
const NODES: usize = 60;

/// The regressions, a card for each first cause: what it says, the lines of the log, what fails like it, what falls with it.
pub fn regressions(
    h: &mut Html,
    report: &Report,
    evidence: &BTreeMap<String, (Excerpt, String)>,
    graph: Option<&Html>,
) {
    let verdict = if report.old.is_some() { Verdict::Regressed } else { Verdict::Failing };
    let regressed = count(report, verdict);
    let title = if report.old.is_some() { "Regressions" } else { "Failures" };
    put!(
        h,
        "<h2 id=\"",
        (verdict.name()),
        "\">",
        (title),
        " <span class=\"n\">",
        (packages(regressed)),
        ", ",
        (report.groups.len())
    );
    if report.groups.len() == 1 {
        put!(h, " cause</span></h2>\n");
    } else {
        put!(h, " causes</span></h2>\n");
    }
    put!(
        h,
        "<div class=\"tools\" data-tools=\"groups\" hidden><label>Find <input type=\"search\" placeholder=\"package or message\"></label> <kbd title=\"leads to the search\">/</kbd> <output aria-live=\"polite\"></output></div>\n"
    );
    put!(h, "<div id=\"groups\">");
    for group in report.groups.iter().take(GROUPS_IN_FULL) {
        card(h, report, group, evidence.get(&group.id));
    }
    if report.groups.len() > GROUPS_IN_FULL {
        put!(h, "<h3>", (report.groups.len() - GROUPS_IN_FULL), " more causes</h3><ul>");
        for group in &report.groups[GROUPS_IN_FULL..] {
            put!(h, "<li data-i id=\"", (group.id), "\">");
            package_link(h, report, "", &group.example);
            if group.size > 1 {
                put!(h, " and ", (group.size - 1), " more");
            }
            put!(h, ": <span class=\"mono\">", (short(&group.title, &group.example)), "</span></li>");
        }
        put!(h, "</ul>");
    }
    put!(h, "</div>\n");
    if let Some(graph) = graph {
        put!(
            h,
            "<h2 id=\"graph\">What fell with what</h2>\n<p class=\"soft\">Each stands to the right of what it depends on; what changed has a thick edge.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Dependency graph\">"
        );
        h.html(graph);
        put!(h, "</div>\n");
    }
}

fn card(h: &mut Html, report: &Report, group: &Group, evidence: Option<&(Excerpt, String)>) {
    let state = entry(report, &group.example).and_then(|entry| entry.new.as_ref());
    // the number of a cause differs from report to report; a link to its package goes on leading to it
    let anchor = format!("cause-{}", file_name(&group.example));
    put!(h, "<article class=\"card fail\" data-i id=\"", (group.id), "\"><header><h3 id=\"", (anchor), "\">");
    package_link(h, report, "", &group.example);
    if group.roots.len() > 1 {
        put!(h, " and ", (group.roots.len() - 1), " more");
    }
    if let Some(state) = state {
        put!(h, " <span class=\"chip fail\">", (state_phrase(state)), "</span>");
    }
    put!(
        h,
        " <a class=\"anchor\" href=\"#",
        (anchor),
        "\" aria-label=\"link to ",
        (group.example),
        "\">#</a>"
    );
    put!(h, "</h3><span class=\"meta\">");
    if group.size > 1 {
        put!(h, (packages(group.size)), (if report.old.is_some() { " regressed, " } else { " fail, " }));
    }
    match group.dependents {
        0 => put!(h, "nothing depends on "),
        1 => put!(h, "1 package depends on "),
        n => put!(h, (n), " packages depend on "),
    }
    put!(
        h,
        (if group.roots.len() == 1 { "it" } else { "them" }),
        "</span></header>\n<p class=\"telling\">",
        (short(&group.title, &group.example)),
        "</p>\n"
    );
    if let Some(entry) = entry(report, &group.example) {
        about_example(h, entry);
    }
    if group.changed {
        put!(h, "<p><strong>This is a changed package itself.</strong></p>");
    } else if !group.suspects.is_empty() {
        put!(h, "<p class=\"small soft\">Depends on what changed: ");
        for (n, name) in group.suspects.iter().take(8).enumerate() {
            if n > 0 {
                put!(h, ", ");
            }
            package_link(h, report, "", name);
        }
        put!(h, ".</p>");
    }
    if let Some((excerpt, command)) = evidence {
        lines(h, excerpt, "");
        if !command.is_empty() {
            put!(
                h,
                "<details><summary>Repeat it</summary><pre class=\"cmd\" role=\"group\" tabindex=\"0\" aria-label=\"command\">",
                (command),
                "</pre></details>\n"
            );
        }
    }
    if group.roots.len() > 1 {
        let most = if group.roots.len() > 8 { 0 } else { group.roots.len() };
        if most == 0 {
            put!(h, "<details><summary>All ", (group.roots.len()), " packages that fail like this</summary>");
        }
        put!(
            h,
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Packages that fail like this\"><table class=\"rows\"><thead><tr><th scope=\"col\">Fails like this</th><th scope=\"col\">Outcome</th><th scope=\"col\">Its own line</th><th scope=\"col\" class=\"num\">Dependents</th></tr></thead><tbody>"
        );
        for name in group.roots.iter().take(ROWS) {
            let Some(entry) = entry(report, name) else { continue };
            put!(h, "<tr><th scope=\"row\">");
            package_link(h, report, "", name);
            put!(h, "</th>");
            if let Some(state) = &entry.new {
                put!(
                    h,
                    "<td class=\"st\">",
                    (outcome_name(state.outcome)),
                    "</td><td class=\"msg\">",
                    (short(&state.message, name)),
                    "</td>"
                );
            } else {
                put!(h, "<td></td><td></td>");
            }
            put!(h, "<td class=\"num\" data-l=\"dependents\">", (entry.dependents), "</td></tr>");
        }
        put!(h, "</tbody></table></div>");
        if group.roots.len() > ROWS {
            put!(
                h,
                "<p class=\"small\">",
                (group.roots.len() - ROWS),
                " more in <a href=\"report.json\">report.json</a>.</p>"
            );
        }
        if most == 0 {
            put!(h, "</details>");
        }
    }
    if !group.fallen.is_empty() {
        put!(
            h,
            "<h3>Falls with ",
            (if group.roots.len() == 1 { "it" } else { "them" }),
            " <span class=\"meta\">",
            (group.fallen.len()),
            "</span></h3>"
        );
        tree(h, report, group);
    }
    put!(h, "</article>\n");
}

/// Where it is, which tests it is about, and whether somebody knows.
fn about_example(h: &mut Html, entry: &Entry) {
    put!(h, "<p class=\"small soft\">", (capital(&entry.reason)));
    if let Some(file) = entry.new.as_ref().and_then(|state| state.file.as_ref()) {
        put!(h, "; in <code>", (file));
        if let Some(line) = entry.new.as_ref().and_then(|state| state.line) {
            put!(h, ":", (line));
        }
        put!(h, "</code>");
    }
    put!(h, ".</p>");
    if !entry.history.is_empty() {
        put!(h, "<div class=\"small soft\">Earlier reports: ");
        strip(h, &entry.history);
        put!(h, "</div>");
    }
    if let Some(known) = &entry.known {
        put!(h, "<p class=\"small\"><span class=\"chip pending\">known</span> ", (known.reason), " (");
        put!(h, (known.owner), ", until ", (known.expires), ")</p>");
    }
    if !entry.tests_broken.is_empty() {
        put!(h, "<p class=\"small\">Tests that passed before: <code>");
        put!(h, (crate::model::differences::some(entry.tests_broken.iter(), 6)), "</code>.</p>");
    }
}

/// The telling lines, with the way to the whole log.
pub fn lines(h: &mut Html, excerpt: &Excerpt, root: &'static str) {
    if excerpt.lines.is_empty() {
        return;
    }
    put!(
        h,
        "<pre class=\"lines\" role=\"group\" tabindex=\"0\" aria-label=\"log of ",
        (excerpt.phase),
        "\">"
    );
    for (at, line) in &excerpt.lines {
        if excerpt.hit == Some(*at) {
            put!(h, "<span class=\"hit\">", (line), "</span>\n");
        } else {
            put!(h, (line), "\n");
        }
    }
    put!(h, "</pre>\n");
    if let Some(page) = &excerpt.page {
        put!(h, "<p class=\"small\"><a href=\"", (root), (page));
        if let Some(hit) = excerpt.hit {
            put!(h, "#L", (hit + 1));
        }
        put!(h, "\">The log of ", (excerpt.phase), "</a></p>\n");
    }
}

/// Chains of blame, turned round and put together: what fell, below what it fell with.
fn tree(h: &mut Html, report: &Report, group: &Group) {
    #[derive(Default)]
    struct Node<'a>(BTreeMap<&'a str, Node<'a>>);
    let mut top = Node::default();
    for chain in &group.fallen {
        let mut node = &mut top;
        for name in chain.iter().rev() {
            node = node.0.entry(name).or_default();
        }
    }
    fn show(h: &mut Html, report: &Report, node: &Node, left: &mut usize) {
        put!(h, "<ul>");
        for (name, below) in &node.0 {
            if *left == 0 {
                break;
            }
            *left -= 1;
            put!(h, "<li>");
            package_link(h, report, "", name);
            if !below.0.is_empty() {
                show(h, report, below, left);
            }
            put!(h, "</li>");
        }
        put!(h, "</ul>");
    }
    put!(h, "<ul class=\"tree\">");
    let mut left = NODES;
    for (name, below) in &top.0 {
        if left == 0 {
            break;
        }
        left -= 1;
        put!(h, "<li>");
        package_link(h, report, "", name);
        if !below.0.is_empty() {
            show(h, report, below, &mut left);
        }
        put!(h, "</li>");
    }
    put!(h, "</ul>");
    if left == 0 && group.fallen.len() > NODES {
        let all: Vec<&str> =
            group.fallen.iter().filter_map(|chain| chain.first()).map(String::as_str).collect();
        if all.len() <= 2000 {
            put!(h, "<p class=\"small\">The tree is cut; all that fell:</p>");
            names(h, "", &all, 0);
        } else {
            put!(h, "<p class=\"small\">The tree is cut; <a href=\"packages.html\">all packages</a>.</p>");
        }
    }
}
