//! The body of a request.

use http::HeaderValue;
use serde_json::{Map, Value};

use super::parts::{Parts, check_name, check_text};
use super::path::check_always_there;
use crate::catalog::params::Parameters;
use crate::catalog::template::{self, Renderer, Segment, Slot, Word, segments};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Content, Entry, Node};

/// A body, with placeholders.
#[derive(Debug)]
pub(crate) enum Body {
    Json(Json),
    Form(Parts),
    Text(Word),
}

/// A JSON value, with placeholders in the place of values and in texts.
#[derive(Debug)]
pub(crate) enum Json {
    Fixed(Value),
    /// A value of the call, with its own type.
    Value(Slot),
    Text(Word),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Body {
    /// The keys that are read here.
    pub(super) const KEYS: &[&str] = &["json", "form", "body"];

    pub(super) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        match entry.key.text.as_str() {
            "json" => Json::read(&entry.value, report).map(Self::Json),
            "form" => Some(Self::Form(Parts::read(entry, report))),
            _ => {
                reader::text(entry, report)?;
                Some(Self::Text(segments(entry.value.scalar()?, report)))
            }
        }
    }

    /// What it is, unless the definition says otherwise.
    pub(super) fn media_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json(_) => "application/json",
            Self::Form(_) => "application/x-www-form-urlencoded",
            Self::Text(_) => "text/plain; charset=utf-8",
        })
    }

    /// Checks the placeholders against the parameters.
    pub(super) fn check(&self, tool: &str, parameters: &Parameters, report: &mut Report) {
        match self {
            Self::Json(json) => {
                json.check(tool, parameters, report);
                if let Json::Value(slot) = json {
                    let segments = vec![Segment::Value(slot.clone())];
                    let word = Word {
                        segments,
                        span: slot.span,
                    };
                    check_always_there(&word, "the body", parameters, report);
                } else if let Json::Text(word) = json {
                    check_always_there(word, "the body", parameters, report);
                }
            }
            Self::Form(parts) => parts.check(tool, parameters, report),
            Self::Text(word) => {
                check_text(word, tool, parameters, report, |_| false);
                check_always_there(word, "the body", parameters, report);
            }
        }
    }

    /// Every placeholder.
    pub(super) fn slots(&self) -> Vec<&Slot> {
        let mut slots = Vec::new();
        match self {
            Self::Json(json) => json.collect_slots(&mut slots),
            Self::Form(parts) => slots.extend(parts.slots()),
            Self::Text(word) => slots.extend(word.slots()),
        }
        slots
    }

    /// The body of a call.
    pub(super) fn render(&self, renderer: &mut Renderer<'_>) -> String {
        match self {
            Self::Json(json) => json.render(renderer).unwrap_or_default().to_string(),
            Self::Form(parts) => parts.render(renderer),
            Self::Text(word) => renderer.optional_text(word).unwrap_or_default(),
        }
    }
}

impl Json {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.content {
            Content::Scalar(scalar) => {
                let word = segments(scalar, report);
                match word.segments.as_slice() {
                    [Segment::Value(slot)] => Some(Self::Value(slot.clone())),
                    _ if word.slots().next().is_some() => Some(Self::Text(word)),
                    _ => Self::fixed(node, report),
                }
            }
            Content::Sequence(nodes) => {
                let items = nodes.iter().map(|node| Self::read(node, report));
                // All of them are read, so that all problems are reported.
                let items: Vec<_> = items.collect();
                items.into_iter().collect::<Option<_>>().map(Self::Array)
            }
            Content::Mapping(entries) => {
                if let [entry] = entries.as_slice()
                    && let Some(problem) = unquoted(entry, node)
                {
                    report.add(problem);
                    return None;
                }
                let members = entries.iter().map(|entry| {
                    check_name(entry, report);
                    Some((entry.key.text.clone(), Self::read(&entry.value, report)?))
                });
                let members: Vec<_> = members.collect();
                members.into_iter().collect::<Option<_>>().map(Self::Object)
            }
        }
    }

    fn fixed(node: &Node, report: &mut Report) -> Option<Self> {
        let value = node.json();
        if value.is_none() {
            let message = "this holds a number that JSON cannot hold";
            let problem = Problem::error(Code::Value, node.span, message);
            report.add(problem.help("quote it if it is a text"));
        }
        value.map(Self::Fixed)
    }

    fn check(&self, tool: &str, parameters: &Parameters, report: &mut Report) {
        match self {
            Self::Fixed(_) => {}
            Self::Value(slot) => {
                template::check_declared(slot, tool, parameters, report);
            }
            Self::Text(word) => check_text(word, tool, parameters, report, |_| false),
            Self::Array(items) => {
                for item in items {
                    item.check(tool, parameters, report);
                }
            }
            Self::Object(members) => {
                for (_, value) in members {
                    value.check(tool, parameters, report);
                }
            }
        }
    }

    fn collect_slots<'a>(&'a self, slots: &mut Vec<&'a Slot>) {
        match self {
            Self::Fixed(_) => {}
            Self::Value(slot) => slots.push(slot),
            Self::Text(word) => slots.extend(word.slots()),
            Self::Array(items) => {
                for item in items {
                    item.collect_slots(slots);
                }
            }
            Self::Object(members) => {
                for (_, value) in members {
                    value.collect_slots(slots);
                }
            }
        }
    }

    /// The value of a call; `None` if it has none, which drops the member or item.
    fn render(&self, renderer: &mut Renderer<'_>) -> Option<Value> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::Value(slot) => renderer.whole(slot),
            Self::Text(word) => renderer.optional_text(word).map(Value::String),
            Self::Array(items) => {
                let items = items.iter().filter_map(|item| item.render(renderer));
                Some(Value::Array(items.collect()))
            }
            Self::Object(members) => {
                let members = members.iter().filter_map(|(name, value)| {
                    let value = value.render(renderer)?;
                    Some((name.clone(), value))
                });
                Some(Value::Object(members.collect::<Map<_, _>>()))
            }
        }
    }
}

/// `{name}` without quotes is a mapping in YAML, and never what is meant.
fn unquoted(entry: &Entry, node: &Node) -> Option<Problem> {
    let scalar = entry.value.scalar()?;
    let name = entry.key.text.trim_end_matches("...");
    if !scalar.is_null() || !scalar.text.is_empty() || !template::is_parameter_name(name) {
        return None;
    }
    let message = format!("`{{{name}}}` without quotes is a mapping in YAML");
    let problem = Problem::error(Code::Value, node.span, message);
    Some(problem.help(format!("write \"{{{name}}}\"")))
}
