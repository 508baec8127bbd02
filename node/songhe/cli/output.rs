//! What people and programs read: tables, JSON lines, refusals in two languages, exit codes.

use std::io::Write as _;
use std::process::ExitCode;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use record::Refusal;
use serde_json::Value;

/// Writes a line to standard output. A reader that went away is no fault of ours.
pub fn line(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Writes a note for people to standard error.
pub fn note(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Writes one JSON object on a line.
pub fn json(value: &Value) {
    line(&value.to_string());
}

/// A table with headings.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings);
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}

/// Tells a refusal in both languages and gives its exit code.
#[must_use]
pub fn refusal(refusal: &Refusal) -> ExitCode {
    let detail = refusal
        .detail
        .as_ref()
        .map(|d| format!(" ({d})"))
        .unwrap_or_default();
    note(&format!("refused: {}{detail}", refusal.reason));
    note(&format!(
        "  {}; {}",
        refusal.reason.english(),
        refusal.reason.next_english()
    ));
    note(&format!(
        "  {}。{}。",
        refusal.reason.chinese(),
        refusal.reason.next_chinese()
    ));
    ExitCode::from(3)
}

/// Tells a fault and gives its exit code.
#[must_use]
pub fn fault(text: &str) -> ExitCode {
    note(&format!("failed: {text}"));
    ExitCode::FAILURE
}

/// A moment for people, or a dash.
#[must_use]
pub fn moment(ms: i64) -> String {
    if ms == 0 {
        "-".into()
    } else {
        record::Timestamp::from_ms(ms).to_rfc3339()
    }
}
