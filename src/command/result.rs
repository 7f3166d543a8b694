//! The result of a call, for people and scripts.

use crate::protocol::mcp::CallToolResult;

/// Its texts as they are, and a line for each other piece.
pub(super) fn text(result: &CallToolResult) -> String {
    let mut text = String::new();
    for piece in &result.content {
        text.push_str(&piece.describe());
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    if let (true, Some(structured)) = (result.content.is_empty(), &result.structured_content) {
        text = format!("{structured}\n");
    }
    text
}

/// As a client gets it.
pub(super) fn json(result: &CallToolResult) -> String {
    serde_json::to_string_pretty(result).unwrap_or_default() + "\n"
}
