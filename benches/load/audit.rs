//! What it costs to write down who calls: a tool with a fixed text, without an audit log, and with one
//! in either mode.

use crate::calls::RUNS;
use crate::table::title;
use crate::variants::{Setup, Variant, compare};

/// Calls per second, by what is written down.
pub(crate) fn audit(scale: f64) {
    title(&format!(
        "audit: a tool with a fixed text, JSON, each kind of log {RUNS} times in turn; median (least to most)"
    ));
    let variants = [
        Variant::start(Setup::plain("no audit log"), None),
        audited("best_effort", Some(0.9)),
        // It is the disk that says what a sync costs.
        audited("required", None),
    ];
    compare(&variants, scale);
}

fn audited(mode: &'static str, goal: Option<f64>) -> Variant {
    // Where a temporary folder is in memory, no sync costs anything.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let log = folder.path().join("audit.log");
    let options = ["--audit", log.to_str().unwrap(), "--audit-mode", mode];
    Variant::start(Setup::plain(mode).with(&options, folder), goal)
}
