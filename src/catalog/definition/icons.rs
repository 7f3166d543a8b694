//! The pictures of what people can choose from.

use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Entry, Node};
use crate::protocol::content::{Icon, Theme, Uri};

const KEYS: &[&str] = &["src", "mime_type", "sizes", "theme"];

/// Reads a list of icons.
pub(super) fn read(entry: &Entry, report: &mut Report) -> Vec<Icon> {
    let nodes = reader::list(entry, report).unwrap_or_default();
    nodes.iter().filter_map(|node| icon(node, report)).collect()
}

fn icon(node: &Node, report: &mut Report) -> Option<Icon> {
    let Some(entries) = node.mapping() else {
        let message = format!("an icon must be a mapping with `src`, not {}", node.kind());
        report.add(Problem::error(Code::Value, node.span, message));
        return None;
    };
    let (mut src, mut mime_type, mut sizes, mut theme) = (None, None, None, None);
    for entry in entries {
        match entry.key.text.as_str() {
            "src" => src = source(entry, report),
            "mime_type" => mime_type = reader::text(entry, report),
            "sizes" => sizes = self::sizes(entry, report),
            "theme" => {
                let choices = [("light", Theme::Light), ("dark", Theme::Dark)];
                theme = reader::choice(entry, &choices, report);
            }
            _ => reader::unknown_key(entry, "an icon", KEYS, report),
        }
    }
    if node.get("src").is_none() {
        let problem = Problem::error(Code::Value, node.span, "an icon needs `src`");
        report.add(problem.help("write the URL of a picture, or `data:image/png;base64,…`"));
    }
    Some(Icon {
        src: src?,
        mime_type,
        sizes,
        theme,
    })
}

/// MCP 2025-11-25, Icons: clients refuse every other scheme.
fn source(entry: &Entry, report: &mut Report) -> Option<Uri> {
    let text = reader::text(entry, report)?;
    let is_known = ["https:", "http:", "data:"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    let uri = Uri::try_from(text).ok().filter(|_| is_known);
    if uri.is_none() {
        let message = "this is not the place of an icon";
        let problem = Problem::error(Code::Value, entry.place(), message);
        report.add(problem.help("write a URL with `https:`, or `data:image/png;base64,…`"));
    }
    uri
}

fn sizes(entry: &Entry, report: &mut Report) -> Option<Vec<String>> {
    let nodes = reader::list(entry, report)?;
    let sizes = nodes.iter().filter_map(|node| {
        let text = node.scalar().map(|scalar| scalar.text.as_str());
        let size = text.filter(|text| is_size(text));
        if size.is_none() {
            let message = "a size must be `48x48` or the like, or `any`";
            report.add(Problem::error(Code::Value, node.span, message));
        }
        size.map(str::to_owned)
    });
    Some(sizes.collect())
}

fn is_size(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = text
        .split_once('x')
        .is_some_and(|(width, height)| is_number(width) && is_number(height));
    is_pair || text == "any"
}
