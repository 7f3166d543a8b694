//! From what a tool printed to a result, by the form that its definition gives the output.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};

use super::filter::Selection;
use super::kept::{End, Rest};
use super::report::end_of;
use super::stdout::{Link, Printed};
use crate::catalog::{Form, Overflow, Tool};
use crate::outputs::KEPT_FOR;
use crate::protocol::content::{Content, Resource, Uri};
use crate::protocol::mcp::CallToolResult;
use crate::protocol::media::MediaType;
use crate::protocol::plain::plain;
use crate::redact::Redactor;

/// A tool that failed although it ended well: what the model is told, and what the log is.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) text: String,
    pub(super) how: &'static str,
}

/// What a filter is given of an output: JSON. `None` if there is no filter for it.
pub(super) fn to_select(tool: &Tool, printed: &Printed) -> Result<Option<Selection>, Failed> {
    let Some(filter) = tool.output.select() else {
        return Ok(None);
    };
    let secrets = printed.secrets(tool);
    let stdout = without_mark(&printed.output);
    let input = match &tool.output.form {
        Form::Json => {
            parsed(stdout, &secrets)?;
            stdout.to_owned()
        }
        Form::Lines => {
            let text = text_of(stdout);
            let lines: Vec<_> = text.lines().map(Value::from).collect();
            Value::from(lines).to_string().into_bytes()
        }
        Form::Auto => match serde_json::from_slice(stdout) {
            Ok(Value::Object(_)) => stdout.to_owned(),
            _ => return Ok(None),
        },
        Form::Text | Form::Response | Form::Raw | Form::Media(_) => return Ok(None),
    };
    Ok(Some(Selection {
        filter: filter.to_owned(),
        input,
        limit: tool.max_output,
        secrets,
    }))
}

/// The result of an output that is whole, but for what the note says.
pub(super) fn result(
    tool: &Tool,
    printed: Printed,
    note: Option<&str>,
) -> Result<CallToolResult, Failed> {
    let secrets = printed.secrets(tool);
    if let Some(link) = printed.link {
        let beginning = secrets.cut_end(&printed.output);
        return Ok(linked(tool, beginning, link, note));
    }
    let stdout = match printed.rest {
        Rest::Nothing | Rest::Spill(_) => printed.output,
        Rest::End(end) => joined(&printed.output, &end, &secrets),
    };
    let result = match (&tool.output.form, printed.selected) {
        (Form::Json, Some(values)) => selected_one(tool, values)?,
        (Form::Auto, Some(values)) => selected_any(tool, &values),
        (_, Some(values)) => selected_lines(tool, &values),
        (Form::Text | Form::Response | Form::Raw, None) => text(tool, &stdout, note),
        (Form::Json, None) => structured(tool, &stdout, parsed(without_mark(&stdout), &secrets)?),
        (Form::Lines, None) => lines(tool, &stdout, note),
        (Form::Auto, None) => match serde_json::from_slice(without_mark(&stdout)) {
            Ok(Value::Object(object)) => structured(tool, &stdout, Value::Object(object)),
            _ => text(tool, &stdout, note),
        },
        (Form::Media(media), None) => bytes(tool, &stdout, media, note)?,
    };
    checked(tool, result)
}

/// A result whose structured content matches the schema of its tool, if there is one.
pub(super) fn checked(tool: &Tool, result: CallToolResult) -> Result<CallToolResult, Failed> {
    if result.is_error || tool.output.schema().is_none() {
        return Ok(result);
    }
    let failed = |text: String| Failed {
        text,
        how: "output against its schema",
    };
    let Some(structured) = &result.structured_content else {
        let text = "the tool gave no structured content, which its output schema asks for";
        return Err(failed(text.to_owned()));
    };
    let checked = tool.output.check(structured);
    checked.map_err(|error| failed(error.to_string()))?;
    Ok(result)
}

/// The result of an output that was cut, as its first part has arrived.
pub(super) fn cut(tool: &Tool, printed: &Printed) -> CallToolResult {
    let limit = tool.max_output;
    if let Some(line) = printed.cut_message {
        return CallToolResult::error(format!(
            "the tool sent a message of more than {limit} bytes, on line {line} of its output, and \
             was stopped; ask for less"
        ));
    }
    if printed.result.is_some() {
        return CallToolResult::error(format!(
            "the tool printed more than {limit} bytes besides its result, and was stopped"
        ));
    }
    let is_cut = tool.output.on_overflow != Overflow::Error;
    let not_kept = match tool.output.on_overflow {
        Overflow::Resource => ", and more than the server could keep",
        Overflow::Stop | Overflow::Truncate | Overflow::Error => "",
    };
    let what = match &tool.output.form {
        Form::Text | Form::Response | Form::Auto if is_cut && tool.output.schema().is_none() => {
            let note = format!(
                "[output cut: the tool printed more than {limit} bytes{not_kept}, and was stopped]"
            );
            return CallToolResult {
                // What a tool that changes things left undone, nobody knows.
                is_error: tool.annotations.read_only != Some(true),
                ..text(
                    tool,
                    printed.secrets(tool).cut_end(&printed.output),
                    Some(&note),
                )
            };
        }
        Form::Text | Form::Response | Form::Auto | Form::Lines | Form::Raw => "",
        Form::Json => " of JSON",
        Form::Media(media) => &format!(" of {}", media.as_str()),
    };
    CallToolResult::error(format!(
        "the tool printed more than {limit} bytes{what}{not_kept}, and was stopped; ask for less"
    ))
}

/// Keeps an output that is larger than a result may be.
pub(super) async fn kept(tool: &Arc<Tool>, mut printed: Printed) -> Result<Printed, Failed> {
    let Rest::Spill(spill) = std::mem::take(&mut printed.rest) else {
        return Ok(printed);
    };
    let media = printed.media.take().unwrap_or_else(|| media_of(tool));
    let secrets = Arc::new(printed.secrets(tool));
    let kept = spill.keep((tool, secrets), media.clone()).await;
    let (uri, bytes) = kept.ok_or_else(|| Failed {
        text: format!(
            "the tool printed more than {} bytes, and the server could not keep them; ask for less",
            tool.max_output
        ),
        how: "too much output",
    })?;
    let link = Some(Link { uri, media, bytes });
    Ok(Printed { link, ..printed })
}

/// What the output of a tool is, where no response says it.
fn media_of(tool: &Tool) -> MediaType {
    match &tool.output.form {
        Form::Json => MediaType::json(),
        Form::Media(media) => media.clone(),
        Form::Text | Form::Lines | Form::Auto | Form::Response | Form::Raw => MediaType::text(),
    }
}

/// The result of an output that is kept: its beginning, if that is text which is of use, and a link.
///
/// MCP, Tools, Output Schema: MUST provide structured results that conform to it. An error has none.
fn linked(tool: &Tool, beginning: &[u8], link: Link, note: Option<&str>) -> CallToolResult {
    let Link { uri, media, bytes } = link;
    let (most, minutes) = (tool.max_output, KEPT_FOR.as_secs() / 60);
    let told = if media.is_text() && !media.is_json() {
        let cut = format!(
            "[output cut: it has {bytes} bytes, and this is the beginning; all of it is in the \
             resource that is linked, for {minutes} minutes]"
        );
        let notes = [note, Some(&cut)].into_iter().flatten();
        let notes = notes.collect::<Vec<_>>().join("\n");
        with_notes(beginning, Some(&notes))
    } else {
        format!(
            "the tool printed {bytes} bytes of {}, and a result holds {most} at most; all of it is \
             in the resource that is linked, for {minutes} minutes",
            media.as_str()
        )
    };
    let link = Content::ResourceLink {
        uri,
        name: format!("output of {}", tool.name),
        title: None,
        description: None,
        mime_type: Some(media.as_str().to_owned()),
        size: Some(bytes),
        icons: None,
        annotations: None,
        meta: None,
    };
    CallToolResult {
        content: vec![Content::text(told), link],
        structured_content: None,
        is_error: tool.output.schema().is_some(),
    }
}

fn text(tool: &Tool, stdout: &[u8], note: Option<&str>) -> CallToolResult {
    let text = with_notes(stdout, note);
    CallToolResult {
        content: vec![said(tool, text, &MediaType::text())],
        structured_content: None,
        is_error: false,
    }
}

fn structured(tool: &Tool, stdout: &[u8], value: Value) -> CallToolResult {
    said_and_structured(tool, text_of(stdout).trim().to_owned(), value)
}

fn said_and_structured(tool: &Tool, text: String, value: Value) -> CallToolResult {
    CallToolResult {
        content: vec![said(tool, text, &MediaType::json())],
        structured_content: Some(value),
        is_error: false,
    }
}

fn lines(tool: &Tool, stdout: &[u8], note: Option<&str>) -> CallToolResult {
    let whole = text_of(stdout);
    let lines: Vec<&str> = whole.lines().collect();
    CallToolResult {
        structured_content: Some(json!({ "lines": lines })),
        ..text(tool, stdout, note)
    }
}

/// What a filter gives for one JSON document is one too. How many values there are would else decide
/// about the form of the result.
fn selected_one(tool: &Tool, values: Vec<Value>) -> Result<CallToolResult, Failed> {
    let count = values.len();
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(said_and_structured(tool, value.to_string(), value)),
        _ => Err(Failed {
            text: format!(
                "the filter for the output of the tool gives {count} values where one belongs; in the \
                 definition, write `[…]` around it"
            ),
            how: "filter failed",
        }),
    }
}

fn selected_lines(tool: &Tool, values: &[Value]) -> CallToolResult {
    let text = text_of_values(values);
    CallToolResult {
        content: vec![said(tool, text, &MediaType::text())],
        structured_content: Some(json!({ "lines": values })),
        is_error: false,
    }
}

/// One object is structured content, and everything else text.
fn selected_any(tool: &Tool, values: &[Value]) -> CallToolResult {
    match values {
        [Value::Object(object)] => {
            let value = Value::Object(object.clone());
            said_and_structured(tool, value.to_string(), value)
        }
        values => CallToolResult {
            structured_content: None,
            ..selected_lines(tool, values)
        },
    }
}

/// Values as jq prints them with `-r`: each on a line, and texts as they are.
fn text_of_values(values: &[Value]) -> String {
    let lines = values.iter().map(|value| match value {
        Value::String(text) => plain(text).into_owned(),
        value => value.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn bytes(
    tool: &Tool,
    stdout: &[u8],
    media: &MediaType,
    note: Option<&str>,
) -> Result<CallToolResult, Failed> {
    if stdout.is_empty() && (media.is_image() || media.is_audio()) {
        return Err(Failed {
            text: format!("the tool printed no {}", media.as_str()),
            how: "no output",
        });
    }
    let piece = match &tool.output.uri {
        Some(uri) => Content::resource(Resource::of_bytes(stdout, Some(media), uri.clone())),
        None => Content::of_bytes(stdout, media, Uri::of_tool(&tool.name)),
    };
    let content = [piece].into_iter().chain(note.map(Content::text));
    Ok(CallToolResult {
        content: content.collect(),
        structured_content: None,
        is_error: false,
    })
}

/// A text as it is, or as a resource where the definition says where it stands.
fn said(tool: &Tool, text: String, media: &MediaType) -> Content {
    match &tool.output.uri {
        Some(uri) => {
            let resource = Resource::of_bytes(text.as_bytes(), Some(media), uri.clone());
            Content::resource(resource)
        }
        None => Content::text(text),
    }
}

fn parsed(stdout: &[u8], secrets: &Redactor) -> Result<Value, Failed> {
    serde_json::from_slice(stdout).map_err(|error| Failed {
        text: format!(
            "the tool printed no valid JSON ({error}):\n{}",
            end_of(stdout, secrets)
        ),
        how: "invalid JSON",
    })
}

/// The beginning and the end of an output, and between them how much is left out.
fn joined(beginning: &[u8], end: &End, secrets: &Redactor) -> Vec<u8> {
    let beginning = secrets.cut_end(beginning);
    let left_out = format!("\n[… {} bytes left out …]\n", end.left_out);
    let rest = secrets.cut_start(&end.bytes);
    [beginning, left_out.as_bytes(), rest].concat()
}

/// JSON without the byte order mark that some programs write before it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Bytes as text for a model.
fn text_of(bytes: &[u8]) -> String {
    plain(&String::from_utf8_lossy(bytes)).into_owned()
}

/// Text with notes on lines of their own behind it.
pub(super) fn with_notes(bytes: &[u8], note: Option<&str>) -> String {
    let decoded = String::from_utf8_lossy(bytes);
    let lossy = matches!(decoded, Cow::Owned(_))
        .then_some("[some bytes were not UTF-8 and are shown as \u{fffd}]");
    let mut text = plain(&decoded).into_owned();
    for note in [lossy, note].into_iter().flatten() {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(note);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalog::{Catalog, Environment};

    #[test]
    fn a_filter_tells_no_credential_of_its_input() {
        let text = "tools: {t: {description: d, exec: /bin/true, output: {type: json, select: .}}}";
        let loaded = Catalog::parse(text, Path::new("tools.yaml"), &Environment::default());
        let catalog = loaded.unwrap().catalog;
        let printed = Printed {
            output: b"{}".to_vec(),
            rest: Rest::Nothing,
            media: None,
            link: None,
            selected: None,
            result: None,
            cut_message: None,
            credential: Redactor::new(["fetched-token"]).unwrap(),
        };
        let selection = to_select(catalog.tool("t").unwrap(), &printed);
        let selection = selection.unwrap().unwrap();
        let told = selection.secrets.cut("a fetched-token".to_owned(), 4);
        assert_eq!(told, "a **…");
    }

    #[test]
    fn no_part_of_a_secret_stands_where_the_middle_is_left_out() {
        let secret = "geheimnis-über-alles";
        let secrets = Redactor::new([secret]).unwrap();
        let output = format!("before {secret} after {secret} end");
        for start in 0..output.len() {
            for end in start..output.len() {
                let rest = End {
                    left_out: 1,
                    bytes: output.as_bytes()[end..].to_owned(),
                };
                let joined = joined(&output.as_bytes()[..start], &rest, &secrets);
                let told = String::from_utf8(joined).unwrap();
                let told = secrets.redact(&told);
                let is_free = |part: &str| !told.contains(part);
                assert!(
                    ["gehe", "über", "lles"].into_iter().all(is_free),
                    "{start} {end}: {told}"
                );
            }
        }
    }

    #[test]
    fn text_is_marked_where_it_is_not_the_whole_truth() {
        let cases: [(&[u8], Option<&str>, &str); 5] = [
            (b"plain\n", None, "plain\n"),
            (b"", Some("[note]"), "[note]"),
            (b"plain", Some("[note]"), "plain\n[note]"),
            (b"plain\n", Some("[note]"), "plain\n[note]"),
            (
                b"\xff",
                None,
                "\u{fffd}\n[some bytes were not UTF-8 and are shown as \u{fffd}]",
            ),
        ];
        for (bytes, note, expected) in cases {
            assert_eq!(with_notes(bytes, note), expected);
        }
    }
}
