use crate::pages::frame::{Tab, page};
use crate::pages::html::{Html, put};
use crate::pages::names;
use contract::report::Report;

/// Groups that are told in full.
const GROUPS: usize = 500;

/// All failures of the new side, by what they say.
pub fn messages(report: &Report) -> Vec<u8> {
    let mut h = Html::new();
    let failing: usize = report.messages.iter().map(|group| group.packages.len()).sum();
    put!(h, "<h1>", (failing), " failures of the ", (report.new.label), " side, by what they say</h1>\n");
    put!(
        h,
        "<p class=\"soft\">Paths, positions, numbers, addresses, generated names and the package's own name are taken out before messages are compared. Packages that fail only because a dependency did are not counted.</p>\n"
    );
    if report.messages.is_empty() {
        put!(h, "<p>None.</p>");
    } else {
        put!(
            h,
            "<div class=\"tools\" data-tools=\"messages\" hidden><label>Find <input type=\"search\"></label> <output aria-live=\"polite\"></output></div>\n"
        );
    }
    put!(h, "<div id=\"messages\">");
    for group in report.messages.iter().take(GROUPS) {
        put!(h, "<section class=\"card fail\" data-i><header><h2 class=\"telling\">");
        let shown =
            if group.message.is_empty() { "(it said nothing)".to_owned() } else { group.message.clone() };
        put!(
            h,
            (shown),
            "</h2><span class=\"meta\">",
            (group.packages.len()),
            " × ",
            (group.code),
            "</span></header>\n"
        );
        if group.example != group.message && !group.example.is_empty() {
            put!(h, "<p class=\"telling soft\">for example: ", (group.example), "</p>");
        }
        let packages: Vec<&str> = group.packages.iter().map(String::as_str).collect();
        names(&mut h, "", &packages, 40);
        put!(h, "</section>\n");
    }
    put!(h, "</div>\n");
    if report.messages.len() > GROUPS {
        put!(
            h,
            "<p>",
            (report.messages.len() - GROUPS),
            " more messages are in <a href=\"report.json\">report.json</a>.</p>"
        );
    }
    page(&report.title, "Failures by message", "", Tab::Messages, true, &h)
}
