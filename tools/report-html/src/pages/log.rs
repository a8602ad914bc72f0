use crate::input::evidence::LogPage;
use crate::input::log::Log;
use crate::pages::frame::{Tab, page};
use crate::pages::html::{Html, put};
use crate::pages::{bytes, package_href};
use contract::report::Report;

/// A log, line by line, each with an anchor; the telling line is marked.
pub fn log_page(report: &Report, of: &LogPage, log: &Log, hit: Option<usize>) -> Vec<u8> {
    let root = "../../../";
    let mut h = Html::new();
    let phases = of.phases.join(", ");
    put!(
        h,
        "<h1>",
        (of.package),
        ": log of ",
        (phases),
        ", ",
        (of.side),
        " side</h1>\n<ul class=\"stamp\"><li><a href=\""
    );
    put!(h, (root), (package_href(&of.package)), "\">the package</a></li><li>", (bytes(log.total_bytes)));
    put!(h, "</li><li>file <code>", (of.log), "</code> of the run</li>");
    if let Some(whole) = &of.whole {
        put!(h, "<li><a href=\"", (last(whole)), "\">all of it as text</a></li>");
    }
    if let Some(hit) = hit {
        put!(h, "<li><a href=\"#L", (hit + 1), "\">to the telling line</a></li>");
    }
    put!(
        h,
        "</ul>\n<div class=\"tools\" data-tools=\"log\" hidden><label>Lines with <input type=\"search\"></label> "
    );
    put!(h, "<output aria-live=\"polite\"></output></div>\n");
    if log.len() == 0 {
        put!(h, "<p class=\"soft\">The log is empty.</p>");
    }
    put!(h, "<pre class=\"log\" id=\"log\" role=\"group\" tabindex=\"0\" aria-label=\"log\">");
    for (at, line) in log.lines() {
        if at == log.head.len()
            && let Some(skipped) = log.skipped_bytes
        {
            put!(h, "<span class=\"gap\">… ", (bytes(skipped)), " in the middle are not shown",);
            match &of.whole {
                Some(whole) => {
                    put!(h, "; <a href=\"", (last(whole)), "\">the whole log</a> has them …</span>")
                }
                None => put!(h, "; the file has them …</span>"),
            }
        }
        put!(h, "<span data-i id=\"L", (at + 1), "\"");
        if hit == Some(at) {
            put!(h, " class=\"hit\"");
        }
        put!(h, "><a href=\"#L", (at + 1), "\">", (at + 1), "</a> ", (line), "\n</span>");
    }
    put!(h, "</pre>\n");
    page(&report.title, &format!("{}: {phases}", of.package), root, Tab::None, true, &h)
}

/// The file, which is beside the page.
fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
