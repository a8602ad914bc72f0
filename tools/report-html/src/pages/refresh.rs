//! A page that loads itself again while the run is going: without a script, and only the overview, so that nobody is disturbed
//! in reading anything else.

/// The page, reloading itself.
pub fn with(mut page: Vec<u8>, seconds: u32) -> Vec<u8> {
    const AFTER: &[u8] = b"<meta charset=\"utf-8\">\n";
    if let Some(at) = page.windows(AFTER.len()).position(|bytes| bytes == AFTER) {
        let at = at + AFTER.len();
        page.splice(at..at, meta(seconds).into_bytes());
    }
    page
}

/// Goes into the head of the page.
fn meta(seconds: u32) -> String {
    format!("<meta http-equiv=\"refresh\" content=\"{}\">\n", interval_s(seconds))
}

/// Says so, in the note on the run.
pub fn sentence(seconds: u32) -> String {
    format!(" This page loads itself again every {} s.", interval_s(seconds))
}

/// Nobody reads a page that goes more often.
fn interval_s(seconds: u32) -> u32 {
    seconds.max(5)
}

/// The page at rest; `None` when it is.
pub fn without(page: &str, seconds: u32) -> Option<String> {
    let (meta, sentence) = (meta(seconds), sentence(seconds));
    page.contains(&meta).then(|| page.replacen(&meta, "", 1).replacen(&sentence, "", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_to_rest() {
        let still = "<head><meta charset=\"utf-8\">\n<p>On it goes.</p>";
        let page = still.replace("goes.", &format!("goes.{}", sentence(7)));
        let page = String::from_utf8(with(page.into_bytes(), 7)).unwrap();
        assert!(page.contains("refresh"));
        assert_eq!(without(&page, 7).as_deref(), Some(still));
        assert_eq!(without("<p>", 7), None);
    }
}
