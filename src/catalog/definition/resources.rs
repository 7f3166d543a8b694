//! `resources` and `resource_templates`: what clients can read.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Number;

use super::Context;
use super::action::Given;
use super::backed::{Definition, Shape};
use super::completions;
use super::defaults::Defaults;
use crate::catalog::content::Piece;
use crate::catalog::file;
use crate::catalog::params::{Parameter, Parameters};
use crate::catalog::resource::{Resource, ResourceAbout, ResourceTemplate};
use crate::catalog::settings::Settings;
use crate::catalog::uri_template::UriTemplate;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::yaml::Entry;
use crate::protocol::content::{self, Annotations, Base64, Content, Priority, Role, Uri};
use crate::protocol::media::MediaType;

const RESOURCE: Shape = Shape {
    kind: "resource",
    keys: &["uri", "mime_type", "annotations", "text", "base64", "file"],
    sources: &["text", "base64", "file", "exec", "http", "script"],
    has_arguments: false,
};
const TEMPLATE: Shape = Shape {
    kind: "resource template",
    keys: &[
        "uri",
        "mime_type",
        "annotations",
        "text",
        "file",
        "complete",
    ],
    sources: &["text", "exec", "http", "script"],
    has_arguments: true,
};
const ANNOTATION_KEYS: &[&str] = &["audience", "priority", "last_modified"];
/// What bytes are of which nobody says what they are.
const UNKNOWN_BYTES: &str = "application/octet-stream";

/// Where each URI stands.
type Seen = HashMap<String, Span>;

/// Reads one resource or template.
type Read<T> = fn(&Entry, &Settings, &Context<'_>, &mut Seen, &mut Report) -> Option<T>;

/// Reads all resources or all templates: `read` is [`resource`] or [`template`].
pub(super) fn read_each<T>(
    entry: &Entry,
    defaults: &Defaults,
    context: &Context<'_>,
    report: &mut Report,
    read: Read<T>,
) -> Vec<Arc<T>> {
    let mut seen = HashMap::new();
    let read = |entry: &_, defaults: &_, context: &Context<'_>, report: &mut _| {
        read(entry, defaults, context, &mut seen, report)
    };
    defaults.read_each(entry, context, report, read)
}

pub(super) fn resource(
    entry: &Entry,
    defaults: &Settings,
    context: &Context<'_>,
    seen: &mut Seen,
    report: &mut Report,
) -> Option<Resource> {
    let mut definition = Definition::read(entry, &RESOURCE, report)?;
    let help = "write an absolute one, such as `docs://readme`";
    let uri = (definition.require("uri", help, report)).and_then(|entry| uri(entry, seen, report));
    let about = about(&mut definition, report);
    let source = definition.source(report)?;
    let fixed = match source.key.text.as_str() {
        "file" => {
            let path = file::path(source, context.folder(source.key.span), report)?;
            definition.action.given = Some(Given::File(path));
            None
        }
        "exec" | "http" | "script" => None,
        _ => {
            let mime_type = about.as_ref().and_then(|about| about.mime_type.as_ref());
            let (constant, size) = fixed(source, uri.clone()?, mime_type, report)?;
            definition.action.given = Some(Given::Content(vec![Piece::fixed(constant)]));
            Some(size)
        }
    };
    Some(Resource {
        tool: definition.tool(Parameters::default(), defaults, context, report)?,
        about: about?,
        uri: uri?,
        size: fixed,
    })
}

pub(super) fn template(
    entry: &Entry,
    defaults: &Settings,
    context: &Context<'_>,
    seen: &mut Seen,
    report: &mut Report,
) -> Option<ResourceTemplate> {
    let mut definition = Definition::read(entry, &TEMPLATE, report)?;
    let help = "write one with a variable, such as `logs://{host}/today`";
    let uri = (definition.require("uri", help, report))
        .and_then(|entry| uri_template(entry, seen, report));
    let about = about(&mut definition, report);
    let parameters = arguments(&definition, uri.as_ref(), report);
    let scope = completions::Scope {
        subject: definition.subject,
        allow: &definition.action.allow(defaults),
        parameters: &parameters,
        defaults,
        context,
    };
    let completions = completions::read(definition.get("complete"), scope, report);
    if let Some(file) = definition.get("file") {
        report.add(file_of_a_template(file));
        return None;
    }
    let source = definition.source(report)?;
    if source.key.text == "text" {
        reader::text(source, report)?;
        let piece = Piece::read(&source.value, context.folder(source.key.span), report)?;
        definition.action.given = Some(Given::Content(vec![piece]));
    }
    Some(ResourceTemplate {
        tool: definition.tool(parameters, defaults, context, report)?,
        about: about?,
        uri: uri?,
        completions,
    })
}

fn uri(entry: &Entry, seen: &mut Seen, report: &mut Report) -> Option<Uri> {
    let text = reader::text(entry, report)?;
    check_once(&text, entry, seen, report);
    if text.contains(['{', '}']) {
        let message = format!("`{text}` has a variable");
        let problem = Problem::error(Code::Value, entry.place(), message);
        report.add(problem.help("move it to `resource_templates`"));
        return None;
    }
    absolute(text, entry, report)
}

fn uri_template(entry: &Entry, seen: &mut Seen, report: &mut Report) -> Option<UriTemplate> {
    let text = reader::text(entry, report)?;
    check_once(&text, entry, seen, report);
    let template = UriTemplate::parse(&text)
        .map_err(|invalid| {
            let problem = Problem::error(Code::Template, entry.place(), invalid.message);
            report.add(problem.help(invalid.help));
        })
        .ok()?;
    absolute(text, entry, report)?;
    Some(template)
}

fn absolute(text: String, entry: &Entry, report: &mut Report) -> Option<Uri> {
    let uri = Uri::try_from(text);
    uri.map_err(|reason| {
        let problem = Problem::error(Code::Value, entry.place(), reason);
        report.add(problem.help("make up a scheme of your own, as in `docs://readme`"));
    })
    .ok()
}

/// Reports a URI that stands for two things.
fn check_once(text: &str, entry: &Entry, seen: &mut Seen, report: &mut Report) {
    if let Some(first) = seen.get(text) {
        reader::twice(&format!("the URI `{text}`"), *first, entry.place(), report);
    } else {
        seen.insert(text.to_owned(), entry.place());
    }
}

/// The arguments of a template: its variables, whether `params` says more of them or not.
fn arguments(
    definition: &Definition<'_>,
    uri: Option<&UriTemplate>,
    report: &mut Report,
) -> Parameters {
    let mut parameters = definition.parameters(report);
    let Some(uri) = uri else {
        return parameters;
    };
    for parameter in parameters.arguments() {
        let name = parameter.name.as_str();
        if !uri.variables().any(|variable| variable == name) {
            let message = format!("`{name}` is not a variable of `{}`", uri.as_str());
            let help =
                format!("write `{{{name}}}` into the URI, or remove it: no value could ever come");
            report.add(Problem::error(Code::Unused, parameter.span, message).help(help));
        }
    }
    let missing: Vec<_> = (uri.variables())
        .filter(|variable| parameters.names().all(|name| name != *variable))
        .map(|variable| Parameter::text(variable, definition.subject.key.span))
        .collect();
    for parameter in missing {
        parameters.add(parameter);
    }
    parameters
}

fn about(definition: &mut Definition<'_>, report: &mut Report) -> Option<ResourceAbout> {
    let errors = report.errors();
    let about = std::mem::take(&mut definition.about);
    let annotations = definition
        .get("annotations")
        .map(|entry| annotations(entry, report));
    let mime_type = definition
        .get("mime_type")
        .and_then(|entry| mime_type(entry, report));
    let about = ResourceAbout {
        name: definition.subject.key.text.clone(),
        title: about.title,
        icons: about.icons,
        description: about.description?,
        mime_type,
        annotations,
    };
    (report.errors() == errors).then_some(about)
}

fn mime_type(entry: &Entry, report: &mut Report) -> Option<MediaType> {
    let text = reader::text(entry, report)?;
    let mime_type = MediaType::parse(&text);
    if mime_type.is_none() {
        let message = format!("`{text}` is not a MIME type");
        let problem = Problem::error(Code::Grammar, entry.place(), message);
        report.add(problem.help("write a type and a subtype, such as `text/plain`"));
    }
    mime_type
}

fn annotations(entry: &Entry, report: &mut Report) -> Annotations {
    let mut annotations = Annotations::default();
    for entry in reader::mapping(entry, report).unwrap_or_default() {
        match entry.key.text.as_str() {
            "audience" => annotations.audience = audience(entry, report),
            "priority" => annotations.priority = priority(entry, report),
            "last_modified" => annotations.last_modified = last_modified(entry, report),
            _ => reader::unknown_key(entry, "`annotations`", ANNOTATION_KEYS, report),
        }
    }
    annotations
}

fn audience(entry: &Entry, report: &mut Report) -> Option<Vec<Role>> {
    let nodes = reader::list(entry, report)?;
    let role = |text: &str| match text {
        "user" => Some(Role::User),
        "assistant" => Some(Role::Assistant),
        _ => None,
    };
    let roles: Option<Vec<_>> = (nodes.iter())
        .map(|node| node.scalar().and_then(|scalar| role(&scalar.text)))
        .collect();
    if roles.is_none() {
        reader::wrong_value(entry, "a list of `user` and `assistant`", report);
    }
    roles
}

fn priority(entry: &Entry, report: &mut Report) -> Option<Priority> {
    let text = reader::text(entry, report)?;
    let number: Option<Number> = text.parse().ok();
    let priority = number.and_then(|number| Priority::try_from(number).ok());
    if priority.is_none() {
        reader::wrong_value(entry, "a number from 0 to 1", report);
    }
    priority
}

fn last_modified(entry: &Entry, report: &mut Report) -> Option<String> {
    let text = reader::text(entry, report)?;
    if humantime::parse_rfc3339(&text).is_err() {
        let message = format!("`{text}` is not a date and time");
        let problem = Problem::error(Code::Grammar, entry.place(), message);
        report.add(problem.help("write it in UTC, such as `2026-01-31T12:00:00Z`"));
        return None;
    }
    Some(text)
}

/// The content that the definition holds itself, and how many bytes it has.
fn fixed(
    source: &Entry,
    uri: Uri,
    mime_type: Option<&MediaType>,
    report: &mut Report,
) -> Option<(Content, usize)> {
    let text = reader::text(source, report)?;
    if source.key.text == "text" {
        let size = text.len();
        let resource = content::Resource::text(text, mime_type, uri);
        return Some((Content::resource(resource), size));
    }
    // Base64 may stand on several lines.
    let encoded: String = text.split_ascii_whitespace().collect();
    let bytes = Base64::try_from(encoded)
        .map_err(|reason| {
            let problem = Problem::error(Code::Value, source.place(), reason);
            report.add(problem.help("encode it with `base64 FILE`, or use `file`"));
        })
        .ok()?;
    let size = bytes.size();
    let mime_type = mime_type.map_or(UNKNOWN_BYTES, MediaType::as_str);
    let resource = content::Resource::blob(bytes, mime_type.to_owned(), uri);
    Some((Content::resource(resource), size))
}

fn file_of_a_template(entry: &Entry) -> Problem {
    let message = "a caller's value in a path could lead anywhere: a template has no `file`";
    Problem::error(Code::PathValue, entry.key.span, message).help(
        "list the files under `resources`, or use `exec` and check the value with a `pattern`",
    )
}
