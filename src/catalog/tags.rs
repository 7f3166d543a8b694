//! Tags: names that toolsets choose by. No client sees them.

use std::collections::BTreeSet;

use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::Entry;

/// The longest tag, in characters.
const MAX_CHARS: usize = 64;

/// Reads a list of tags.
pub(crate) fn read(entry: &Entry, report: &mut Report) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    for node in reader::list(entry, report).unwrap_or_default() {
        let text = node.scalar().map(|scalar| scalar.text.as_str());
        if let Some(tag) = text.filter(|text| is_tag(text)) {
            tags.insert(tag.to_owned());
            continue;
        }
        let given = text.map_or(node.kind().to_owned(), |text| format!("`{text}`"));
        let message = format!("{given} cannot be a tag");
        let help = format!("use 1 to {MAX_CHARS} of the characters A–Z a–z 0–9 _ - .");
        report.add(Problem::error(Code::Name, node.span, message).help(help));
    }
    tags
}

fn is_tag(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=MAX_CHARS).contains(&text.len()) && text.chars().all(allowed)
}
