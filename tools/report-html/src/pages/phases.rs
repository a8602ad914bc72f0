use crate::input::evidence::LogPage;
use crate::model::verdict::cause_phrase;
use crate::pages::html::{Html, put};
use crate::pages::{bytes, duration};
use contract::run::{Phase, PhaseStatus, Run, Variant};

/// Seconds of all phases together.
pub fn time(phases: &[Phase]) -> f64 {
    phases.iter().map(|phase| phase.wall_s.max(0.0)).sum()
}

/// The phases as a timeline: each bar starts where the one before ended.
pub fn phases(h: &mut Html, run: &Run, logs: &[LogPage], longest: f64, root: &'static str) {
    if run.phases.is_empty() {
        return;
    }
    put!(
        h,
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Phases\"><table><caption>Phases</caption><thead><tr><th scope=\"col\">Phase</th><th scope=\"col\">Result</th><th scope=\"col\"><span class=\"vh\">When</span></th><th scope=\"col\" class=\"num\">Time</th><th scope=\"col\" class=\"num\">Memory</th><th scope=\"col\">Log</th></tr></thead><tbody>"
    );
    let scale = if longest > 0.0 { 100.0 / longest } else { 0.0 };
    let mut at = 0.0;
    let several = run
        .phases
        .iter()
        .any(|phase| phase.variant != run.phases[0].variant || phase.variant == Variant::Fallback);
    for phase in &run.phases {
        let status = match phase.status {
            PhaseStatus::Ok => "ok",
            PhaseStatus::Fail => "fail",
            PhaseStatus::NotRun => "not-run",
            PhaseStatus::Trouble => "trouble",
        };
        put!(h, "<tr><th scope=\"row\">", (phase.phase));
        if phase.attempt > 1 {
            put!(h, " <span class=\"soft\">attempt ", (phase.attempt), "</span>");
        }
        match phase.variant {
            _ if !several => {}
            Variant::Minimal => put!(h, " <span class=\"soft\">minimal</span>"),
            Variant::Fallback => put!(h, " <span class=\"soft\">fallback</span>"),
            Variant::Extended => put!(h, " <span class=\"soft\">extended</span>"),
        }
        put!(h, "</th><td><span class=\"chip ", (status), "\">", (status), "</span>");
        if let Some(cause) = phase.cause {
            put!(h, " ", (cause_phrase(cause)));
        } else if let Some(signal) = phase.signal {
            put!(h, " signal ", (signal));
        } else if let Some(code) = phase.exit_code.filter(|code| *code != 0) {
            put!(h, " exit ", (code));
        }
        let width = (phase.wall_s.max(0.0) * scale).max(0.6);
        put!(
            h,
            "</td><td><svg class=\"line\" viewBox=\"0 0 101 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"",
            (status),
            "\" x=\"",
            (format!("{:.2}", at * scale)),
            "\" width=\"",
            (format!("{width:.2}")),
            "\" height=\"8\"/></svg></td>"
        );
        at += phase.wall_s.max(0.0);
        put!(h, "<td class=\"num\">", (duration(phase.wall_s)), "</td><td class=\"num\">");
        if let Some(mb) = phase.peak_memory_mb {
            put!(h, (format!("{mb:.0}")), " MiB");
        }
        put!(h, "</td><td class=\"st\">");
        if let Some(log) = &phase.log {
            match logs.iter().find(|page| page.log == *log) {
                Some(page) => {
                    put!(h, "<a href=\"", (root), (page.page), "\">", (bytes(phase.log_bytes)), "</a>")
                }
                None if phase.log_bytes == 0 => put!(h, "<span class=\"soft\">empty</span>"),
                None => put!(h, "<code>", (log), "</code> (", (bytes(phase.log_bytes)), ")"),
            }
            if phase.log_truncated {
                put!(h, " <span class=\"soft\">cut</span>");
            }
        }
        put!(h, "</td></tr>");
    }
    put!(h, "</tbody></table></div>\n");
}
