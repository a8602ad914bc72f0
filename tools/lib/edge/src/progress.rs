//! Progress bars: only on a terminal, on stderr, gone when done; with an ETA when the total is known.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::LazyLock;
use std::time::Duration;

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A bar that counts items (`total` known) or spins (`total` unknown). Hidden where nothing may be drawn.
pub fn items(what: &str, total: Option<u64>) -> ProgressBar {
    bar(what, total, "{msg} {wide_bar} {pos}/{len} eta {eta}", "{spinner} {msg} {pos} {elapsed}")
}

/// A bar that counts bytes.
pub fn bytes(what: &str, total: Option<u64>) -> ProgressBar {
    bar(
        what,
        total,
        "{msg} {wide_bar} {bytes}/{total_bytes} eta {eta}",
        "{spinner} {msg} {bytes} {bytes_per_sec}",
    )
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
    bar.set_draw_target(ProgressDrawTarget::stderr());
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
