//! `progress`: which lines of a program say how far it has come.

use std::ops::Range;
use std::sync::Arc;

use regex::bytes::{Match, Regex, RegexBuilder};
use serde_json::Number;

use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::yaml::{Entry, Scalar};

/// The largest regular expression, in bytes of what it is compiled to.
const MAX_COMPILED: usize = 1 << 20;

const KEYS: &[&str] = &["from", "match"];
const CHANNELS: &[(&str, Channel)] = &[("stderr", Channel::Stderr), ("stdout", Channel::Stdout)];
/// What a line can say, as the names of groups.
const GROUPS: &[&str] = &["done", "total", "message"];

/// The lines that say how far a program has come.
#[derive(Clone, Debug)]
pub struct ProgressLines {
    /// Where they stand.
    pub from: Channel,
    pattern: Arc<Regex>,
    /// Lines say how much is done; else they are counted.
    says_done: bool,
}

/// An output of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
}

/// What a line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mark {
    /// How much is done; `None` where lines only tell that something happens.
    pub done: Option<Number>,
    /// How much there is to do.
    pub total: Option<Number>,
    /// What is being done.
    pub message: Option<String>,
}

impl ProgressLines {
    /// Reads the `progress` of a tool.
    pub(crate) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let errors = report.errors();
        let mut from = None;
        let mut pattern = None;
        for entry in reader::mapping(entry, report)? {
            match entry.key.text.as_str() {
                "from" => from = reader::choice(entry, CHANNELS, report),
                "match" => pattern = read_pattern(entry, report),
                _ => reader::unknown_key(entry, "`progress`", KEYS, report),
            }
        }
        if entry.value.get("match").is_none() && report.errors() == errors {
            let message = "`progress` needs `match`, which says what a line of progress looks like";
            let help = r"write `match: '(?<done>\d+)/(?<total>\d+) (?<message>.*)'`";
            report.add(Problem::error(Code::Value, entry.key.span, message).help(help));
        }
        let pattern = pattern?;
        Some(Self {
            from: from.unwrap_or_default(),
            says_done: pattern.capture_names().flatten().any(|name| name == "done"),
            pattern: Arc::new(pattern),
        })
    }

    /// What a line says, without its end; `None` if it is no progress.
    pub fn mark(&self, line: &[u8]) -> Option<Mark> {
        let groups = self.pattern.captures(line)?;
        let done = groups.name("done").and_then(number);
        if self.says_done && done.is_none() {
            return None;
        }
        let message = groups.name("message").map(|message| message.as_bytes());
        let message = message.map(|message| String::from_utf8_lossy(message).trim().to_owned());
        Some(Mark {
            done,
            total: groups.name("total").and_then(number),
            message: message.filter(|message| !message.is_empty()),
        })
    }
}

/// A number that JSON can hold.
fn number(text: Match<'_>) -> Option<Number> {
    let text = std::str::from_utf8(text.as_bytes()).ok()?.trim();
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    Number::from_f64(text.parse().ok()?)
}

fn read_pattern(entry: &Entry, report: &mut Report) -> Option<Regex> {
    let text = reader::text(entry, report)?;
    let scalar = entry.value.scalar()?;
    let built = RegexBuilder::new(&text)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build();
    let Ok(pattern) = built else {
        let (at, reason) = mistake(&text);
        let message = format!("`match` is no regular expression: {reason}");
        refuse(scalar, at, message, None, report);
        return None;
    };
    let mut is_known = true;
    for name in pattern.capture_names().flatten() {
        if !GROUPS.contains(&name) {
            let start = text.find(&format!("<{name}>")).map_or(0, |at| at + 1);
            let message = format!("a group of `match` cannot be called `{name}`");
            let help = did_you_mean(name, GROUPS.iter().copied());
            let known = || format!("the groups are {}", reader::listed(GROUPS));
            let help = Some(help.unwrap_or_else(known));
            refuse(scalar, start..start + name.len(), message, help, report);
            is_known = false;
        }
    }
    let says = |group: &str| pattern.capture_names().flatten().any(|name| name == group);
    if is_known && !says("done") && !says("message") {
        let message = "`match` has neither a group `done` nor a group `message`";
        let help = r"write `(?<done>\d+)` around the number that grows";
        refuse(
            scalar,
            0..text.len(),
            message.to_owned(),
            Some(help.to_owned()),
            report,
        );
        return None;
    }
    is_known.then_some(pattern)
}

fn refuse(
    scalar: &Scalar,
    at: Range<usize>,
    message: String,
    help: Option<String>,
    report: &mut Report,
) {
    let place = scalar.place(at, report);
    report.add(Problem::error(Code::Grammar, place, message).maybe_help(help));
}

/// Where a regular expression is wrong, and what is.
fn mistake(text: &str) -> (Range<usize>, String) {
    let parsed = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .build()
        .parse(text);
    let (span, reason) = match &parsed {
        Err(regex_syntax::Error::Parse(error)) => (error.span(), error.kind().to_string()),
        Err(regex_syntax::Error::Translate(error)) => (error.span(), error.kind().to_string()),
        _ => return (0..text.len(), "it is too large; make it simpler".to_owned()),
    };
    (span.start.offset..span.end.offset, reason)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalog::{Catalog, Environment};

    fn lines(pattern: &str) -> ProgressLines {
        let text = format!(
            "tools: {{t: {{description: d, exec: /bin/cat, progress: {{match: '{pattern}'}}}}}}"
        );
        let environment = Environment::default();
        let loaded = Catalog::parse(&text, Path::new("tools.yaml"), &environment).unwrap();
        loaded.catalog.tool("t").unwrap().progress.clone().unwrap()
    }

    #[test]
    fn a_line_says_how_much_is_done() {
        let counted = r"(?<done>[\d.]+)(/(?<total>\S+))?( (?<message>.*))?$";
        let number = |text: &str| serde_json::from_str::<Number>(text).ok();
        let cases: [(&str, &[u8], Option<Mark>); 9] = [
            (
                counted,
                b"step 3/10 copying",
                Some(Mark {
                    done: number("3"),
                    total: number("10"),
                    message: Some("copying".to_owned()),
                }),
            ),
            (
                counted,
                b"12.5",
                Some(Mark {
                    done: number("12.5"),
                    ..Mark::default()
                }),
            ),
            (
                counted,
                b"3/many",
                Some(Mark {
                    done: number("3"),
                    ..Mark::default()
                }),
            ),
            (counted, b"nothing", None),
            (counted, b"1.2.3", None),
            (
                counted,
                b"3 ",
                Some(Mark {
                    done: number("3"),
                    ..Mark::default()
                }),
            ),
            (
                "^=> (?<message>.*)",
                b"=> linking",
                Some(Mark {
                    message: Some("linking".to_owned()),
                    ..Mark::default()
                }),
            ),
            ("^=> (?<message>.*)", b"linking", None),
            (
                "(?<message>(?-u:.)+)",
                b"\xff",
                Some(Mark {
                    message: Some("\u{fffd}".to_owned()),
                    ..Mark::default()
                }),
            ),
        ];
        for (pattern, line, expected) in cases {
            assert_eq!(
                lines(pattern).mark(line),
                expected,
                "{}",
                line.escape_ascii()
            );
        }
    }
}
