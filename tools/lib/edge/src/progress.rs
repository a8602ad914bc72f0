//! Progress bars: only on a terminal, on stderr, gone when done; with an ETA when the total is known.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::LazyLock;
use std::time::Duration;

/// Bars that are there at the same time stand below each other; by itself it draws on stderr.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

const BYTES_OF_TOTAL: &str = "{msg} {wide_bar} {bytes}/{total_bytes} eta {eta}";

/// A bar that counts items (`total` known) or spins (`total` unknown). Hidden where nothing may be drawn.
pub fn items(what: &str, total: Option<u64>) -> ProgressBar {
    bar(what, total, "{msg} {wide_bar} {pos}/{len} eta {eta}", "{spinner} {msg} {pos} {elapsed}")
}

/// [`items`] while data goes to stdout: hidden where that is a terminal, on which the two would mix.
pub fn items_beside_output(what: &str, total: Option<u64>) -> ProgressBar {
    if std::io::stdout().is_terminal() { ProgressBar::hidden() } else { items(what, total) }
}

/// A bar that counts bytes.
pub fn bytes(what: &str, total: Option<u64>) -> ProgressBar {
    bar(what, total, BYTES_OF_TOTAL, "{spinner} {msg} {bytes} {bytes_per_sec}")
}

/// The total of a bar of [`bytes`] became known: from here on it has an ETA.
pub fn set_total_bytes(bar: &ProgressBar, total: u64) {
    if bar.length() != Some(total) {
        bar.set_length(total);
        if let Ok(style) = ProgressStyle::with_template(BYTES_OF_TOTAL) {
            bar.set_style(style);
        }
    }
}

fn bar(what: &str, total: Option<u64>, known: &str, unknown: &str) -> ProgressBar {
    if !crate::say::may_draw() {
        return ProgressBar::hidden();
    }
    let (bar, style) = match total {
        Some(total) => (ProgressBar::new(total), known),
        None => (ProgressBar::new_spinner(), unknown),
    };
    let bar = BARS.add(bar);
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Takes the bars off the terminal while something else is printed.
pub(crate) fn suspend(print: impl FnOnce()) {
    if crate::say::may_draw() { BARS.suspend(print) } else { print() }
}
