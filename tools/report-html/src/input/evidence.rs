use crate::input::log::{HEAD_BYTES, Log, TAIL_BYTES};
use crate::input::{Layout, log_path};
use crate::pages::html::file_name;
use contract::run::{PhaseStatus, Run};

/// Bytes read at each end of a log for the few lines that stand in a page.
const EXCERPT_BYTES: u64 = 48 * 1024;

/// The lines of a log that tell what went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    pub phase: String,
    /// Index in the log as it is kept, and the line.
    pub lines: Vec<(usize, String)>,
    pub hit: Option<usize>,
    /// Page of the log, seen from the directory of the report; `None` when logs are not made into pages.
    pub page: Option<String>,
}

/// A log that becomes a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// `new` or `old`.
    pub side: &'static str,
    pub package: String,
    pub phases: Vec<String>,
    /// Path relative to the side's OUT.
    pub log: String,
    /// Address of the page, seen from the directory of the report.
    pub page: String,
    /// Address of its whole text, where the page has not all of it.
    pub whole: Option<String>,
}

/// The logs of a run, in the order of its phases, each once.
pub fn logs(run: &Run, side: &'static str, package: &str) -> Vec<LogPage> {
    let mut pages: Vec<LogPage> = Vec::new();
    for phase in &run.phases {
        // an empty log needs no page
        let Some(log) = phase.log.as_ref().filter(|_| phase.log_bytes > 0) else { continue };
        match pages.iter_mut().find(|page| page.log == *log) {
            Some(page) => {
                if !page.phases.contains(&phase.phase) {
                    page.phases.push(phase.phase.clone());
                }
            }
            None => {
                let last = log.rsplit('/').next().unwrap_or(log);
                let number = pages.len() + 1;
                pages.push(LogPage {
                    side,
                    package: package.to_owned(),
                    phases: vec![phase.phase.clone()],
                    log: log.clone(),
                    page: format!("logs/{side}/{}/{number}-{}.html", file_name(package), file_name(last)),
                    whole: None,
                });
            }
        }
    }
    pages
}

/// Reads a log as it is shown on its page.
pub fn read_log(layout: &Layout, log: &str) -> Option<Log> {
    Log::read(&log_path(&layout.out, log)?, HEAD_BYTES, TAIL_BYTES).ok()
}

/// The telling lines of the phase that failed, or the end of the last log for a run that did not.
pub fn excerpt(
    layout: &Layout,
    run: &Run,
    message: &str,
    pages: &[LogPage],
    before: usize,
    after: usize,
) -> Option<Excerpt> {
    let failed =
        run.phases.iter().rev().find(|phase| phase.status == PhaseStatus::Fail && phase.log.is_some())?;
    let log_name = failed.log.as_deref()?;
    let log = Log::read(&log_path(&layout.out, log_name)?, HEAD_BYTES.max(EXCERPT_BYTES), TAIL_BYTES).ok()?;
    let hit = log.telling(message);
    let lines = match hit {
        // what follows may be little: then more of what came before
        Some(at) => log.around(at, before + after.saturating_sub(log.len() - 1 - at), after),
        None => log.lines().skip(log.len().saturating_sub(before + after)).collect(),
    };
    Some(Excerpt {
        phase: failed.phase.clone(),
        lines: lines.into_iter().map(|(at, line)| (at, line.to_owned())).collect(),
        hit,
        page: pages.iter().find(|page| page.log == log_name).map(|page| page.page.clone()),
    })
}
