use crate::input::evidence::LogPage;
use crate::model::verdict::cause_phrase;
use crate::pages::html::{Html, put};
use crate::pages::{bytes, duration};
use contract::run::{Phase, PhaseStatus, Run, Variant};

/// Seconds of all phases together.
pub fn time(phases: &[Phase]) -> f64 {
    phases.iter().map(seconds).sum()
}

fn seconds(phase: &Phase) -> f64 {
    phase.wall_s.max(0.0)
}

fn status(phase: &Phase) -> &'static str {
    match phase.status {
        PhaseStatus::Ok => "ok",
        PhaseStatus::Fail => "fail",
        PhaseStatus::NotRun => "not-run",
        PhaseStatus::Trouble => "trouble",
    }
}

/// The phases as a timeline on the scale of both sides, then a row for each that ran; those that did not are a line.
pub fn phases(h: &mut Html, run: &Run, logs: &[LogPage], longest: f64, root: &'static str) {
    let ran = |phase: &&Phase| phase.status != PhaseStatus::NotRun;
    if !run.phases.is_empty() {
        timeline(h, run, longest);
    }
    if run.phases.iter().any(|phase| ran(&phase)) {
        put!(
            h,
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Phases\"><table class=\"tight\"><thead><tr><th scope=\"col\">Phase</th><th scope=\"col\">Result</th><th scope=\"col\" class=\"num\">Time</th><th scope=\"col\" class=\"num\">Memory</th><th scope=\"col\" class=\"num\">Log</th></tr></thead><tbody>"
        );
        let several = run
            .phases
            .iter()
            .any(|phase| phase.variant != run.phases[0].variant || phase.variant == Variant::Fallback);
        for phase in run.phases.iter().filter(ran) {
            row(h, phase, logs, several, root);
        }
        put!(h, "</tbody></table></div>\n");
    }
    // of several attempts one may have got there
    let reached = |name: &str| run.phases.iter().any(|phase| ran(&phase) && phase.phase == name);
    let mut not_run: Vec<&str> = Vec::new();
    for name in run.phases.iter().map(|phase| phase.phase.as_str()) {
        if !reached(name) && !not_run.contains(&name) {
            not_run.push(name);
        }
    }
    if !not_run.is_empty() {
        put!(h, "<p class=\"small soft\">Not reached: ", (not_run.join(", ")), ".</p>\n");
    }
}

/// One bar: each phase begins where the one before ended.
fn timeline(h: &mut Html, run: &Run, longest: f64) {
    if longest <= 0.0 {
        return;
    }
    put!(h, "<svg class=\"line\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    let mut at = 0.0;
    for phase in &run.phases {
        let width = seconds(phase) / longest * 100.0;
        if width > 0.05 {
            // a gap between two phases, unless that is all there is
            put!(h, "<rect class=\"", (status(phase)), "\" x=\"", (format!("{at:.1}")), "\" width=\"");
            put!(
                h,
                (format!("{:.1}", if width > 1.0 { width - 0.3 } else { width })),
                "\" height=\"8\"><title>"
            );
            put!(h, (phase.phase), " ", (duration(phase.wall_s)), "</title></rect>");
        }
        at += width;
    }
    put!(h, "</svg>\n");
}

fn row(h: &mut Html, phase: &Phase, logs: &[LogPage], several: bool, root: &'static str) {
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
    put!(h, "</th><td><span class=\"chip ", (status(phase)), "\">", (status(phase)), "</span>");
    if let Some(cause) = phase.cause {
        put!(h, " ", (cause_phrase(cause)));
    } else if let Some(signal) = phase.signal {
        put!(h, " signal ", (signal));
    } else if let Some(code) = phase.exit_code.filter(|code| *code != 0) {
        put!(h, " exit ", (code));
    }
    put!(h, "</td><td class=\"num\">", (duration(phase.wall_s)), "</td><td class=\"num\">");
    if let Some(mb) = phase.peak_memory_mb {
        put!(h, (format!("{mb:.0}")), " MiB");
    }
    put!(h, "</td><td class=\"num\">");
    if let Some(log) = &phase.log {
        match logs.iter().find(|page| page.log == *log) {
            Some(page) => put!(h, "<a href=\"", (root), (page.page), "\">", (bytes(phase.log_bytes)), "</a>"),
            None if phase.log_bytes == 0 => put!(h, "<span class=\"soft\">empty</span>"),
            None => put!(h, (bytes(phase.log_bytes))),
        }
        if phase.log_truncated {
            put!(h, " <span class=\"soft\">cut</span>");
        }
    }
    put!(h, "</td></tr>");
}
