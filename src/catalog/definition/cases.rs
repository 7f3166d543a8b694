//! `tests`: calls with what is expected of them, for `mcp-serve test`.

use std::fmt::Write as _;
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};

use crate::auth::{Caller, Issuer, Principal};
use crate::catalog::case::{Case, Expectation, TextRules};
use crate::catalog::{ArgumentError, Tool};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::yaml::{Entry, Node};

/// How much of the arguments is in the name of a test that has none, in characters.
const MAX_SHOWN: usize = 60;

pub(super) const KEYS: &[&str] = &["name", "call", "arguments", "as", "expect"];
pub(super) const CALLER_KEYS: &[&str] = &["subject", "tenant", "scopes", "roles"];
pub(super) const EXPECT_KEYS: &[&str] = &["allowed", "is_error", "text", "structured"];
pub(super) const TEXT_KEYS: &[&str] = &["contains", "matches"];

/// Reads all tests. `names` are those of all tools, of which some may be left out.
pub(super) fn read(
    entry: &Entry,
    names: &[&str],
    tools: &[Arc<Tool>],
    report: &mut Report,
) -> Vec<Case> {
    let nodes = reader::list(entry, report).unwrap_or_default();
    (nodes.iter())
        .filter_map(|node| {
            let case = read_case(node, report)?;
            find_tool(case, node, (names, tools), report)
        })
        .collect()
}

fn read_case(node: &Node, report: &mut Report) -> Option<Case> {
    let Some(entries) = node.mapping() else {
        let kind = node.kind();
        let message = format!("a test must be a mapping with `call` and `expect`, not {kind}");
        report.add(Problem::error(Code::Value, node.span, message));
        return None;
    };
    let errors = report.errors();
    let mut case = Case {
        name: String::new(),
        call: String::new(),
        tool: None,
        arguments: Map::new(),
        caller: None,
        expect: Expectation::default(),
    };
    for entry in entries {
        match entry.key.text.as_str() {
            "name" => case.name = reader::text(entry, report).unwrap_or_default(),
            "call" => case.call = reader::text(entry, report).unwrap_or_default(),
            "arguments" => case.arguments = arguments(entry, report).unwrap_or_default(),
            "as" => case.caller = caller(entry, report).map(Arc::new),
            "expect" => case.expect = expectation(entry, report),
            _ => reader::unknown_key(entry, "a test", KEYS, report),
        }
    }
    if node.get("call").is_none() {
        let problem = Problem::error(Code::Value, node.span, "a test needs `call`");
        report.add(problem.help("name the tool to call"));
    }
    if case.name.trim().is_empty() {
        case.name = unnamed(&case);
    }
    (report.errors() == errors).then_some(case)
}

/// What a test is called that has no name: what it does, in a few words.
fn unnamed(case: &Case) -> String {
    let mut name = case.call.clone();
    let caller = case.caller.as_ref().map(|caller| caller.subject());
    if let Some(subject) = caller.filter(|subject| !subject.is_empty()) {
        write!(name, " as {subject}").ok();
    }
    if !case.arguments.is_empty() {
        let arguments = serde_json::to_string(&case.arguments).unwrap_or_default();
        let shown: String = arguments.chars().take(MAX_SHOWN).collect();
        let rest = if shown.len() < arguments.len() {
            "…"
        } else {
            ""
        };
        write!(name, " {shown}{rest}").ok();
    }
    name
}

/// Finds the tool that a test calls, and checks the arguments unless they are meant to be refused.
fn find_tool(
    case: Case,
    node: &Node,
    (names, tools): (&[&str], &[Arc<Tool>]),
    report: &mut Report,
) -> Option<Case> {
    let place = |key: &str| node.get(key).map_or(node.span, Entry::place);
    let name = case.call.as_str();
    if !names.contains(&name) {
        let message = format!("there is no tool `{name}`");
        let problem = Problem::error(Code::UnknownName, place("call"), message);
        report.add(problem.maybe_help(did_you_mean(name, names.iter().copied())));
        return None;
    }
    let tool = tools.iter().find(|tool| tool.name == name);
    let checked = tool.map(|tool| tool.arguments(Some(case.arguments.clone()), &case.caller()));
    match checked {
        Some(Err(error)) if !case.expect.is_error => {
            report.add(misfit(name, &error, place("arguments")));
            None
        }
        _ => Some(Case {
            tool: tool.cloned(),
            ..case
        }),
    }
}

fn misfit(name: &str, error: &ArgumentError, span: Span) -> Problem {
    let error = error.to_string();
    let rules: Vec<_> = (error.lines())
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    let message = format!(
        "`{name}` does not take these arguments: {}",
        rules.join("; ")
    );
    Problem::error(Code::Value, span, message).help("correct them, or expect `is_error: true`")
}

fn arguments(entry: &Entry, report: &mut Report) -> Option<Map<String, Value>> {
    reader::mapping(entry, report)?;
    match json(entry, report)? {
        Value::Object(arguments) => Some(arguments),
        _ => None,
    }
}

fn json(entry: &Entry, report: &mut Report) -> Option<Value> {
    let value = entry.value.json();
    if value.is_none() {
        let message = format!("`{}` holds a number that JSON cannot hold", entry.key.text);
        report.add(Problem::error(Code::Value, entry.key.span, message));
    }
    value
}

fn caller(entry: &Entry, report: &mut Report) -> Option<Caller> {
    let (mut subject, mut tenant) = (None, None);
    let (mut scopes, mut roles) = (Vec::new(), Vec::new());
    for entry in reader::mapping(entry, report)? {
        match entry.key.text.as_str() {
            "subject" => subject = reader::text(entry, report),
            "tenant" => tenant = reader::text(entry, report),
            "scopes" => scopes = texts(entry, report),
            "roles" => roles = texts(entry, report),
            _ => reader::unknown_key(entry, "`as`", CALLER_KEYS, report),
        }
    }
    let subject = subject.unwrap_or_else(|| "test".to_owned());
    let principal = Principal::user(Issuer::AuthFile, subject, tenant);
    Some(Caller {
        roles,
        ..Caller::new(principal).with_scopes(scopes)
    })
}

fn texts(entry: &Entry, report: &mut Report) -> Vec<String> {
    let nodes = reader::list(entry, report).unwrap_or_default();
    let mut texts = Vec::new();
    for node in nodes {
        if let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) {
            texts.push(scalar.text.clone());
        } else {
            let message = format!("an item must be a text, not {}", node.kind());
            report.add(Problem::error(Code::Value, node.span, message));
        }
    }
    texts
}

fn expectation(entry: &Entry, report: &mut Report) -> Expectation {
    let mut expect = Expectation::default();
    for entry in reader::mapping(entry, report).unwrap_or_default() {
        match entry.key.text.as_str() {
            "allowed" => expect.allowed = reader::boolean(entry, report).unwrap_or(true),
            "is_error" => expect.is_error = reader::boolean(entry, report).unwrap_or(false),
            "text" => expect.text = text_rules(entry, report),
            "structured" => expect.structured = json(entry, report),
            _ => reader::unknown_key(entry, "`expect`", EXPECT_KEYS, report),
        }
    }
    expect
}

fn text_rules(entry: &Entry, report: &mut Report) -> TextRules {
    let mut rules = TextRules::default();
    let Some(entries) = entry.value.mapping() else {
        rules.exact = reader::text(entry, report);
        return rules;
    };
    for entry in entries {
        match entry.key.text.as_str() {
            "contains" => rules.contains = reader::text(entry, report),
            "matches" => rules.matches = pattern(entry, report),
            _ => reader::unknown_key(entry, "`text`", TEXT_KEYS, report),
        }
    }
    rules
}

fn pattern(entry: &Entry, report: &mut Report) -> Option<Regex> {
    let text = reader::text(entry, report)?;
    Regex::new(&text)
        .map_err(|error| {
            let cause = error.to_string();
            let cause = cause.lines().last().unwrap_or_default();
            let cause = cause.trim_start_matches("error: ");
            let message = format!("`{text}` is not a regular expression: {cause}");
            report.add(Problem::error(Code::Grammar, entry.place(), message));
        })
        .ok()
}
