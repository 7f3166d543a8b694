//! What a tool with `messages: true` says on its standard output: one JSON object with the key
//! `mcp` on a line of its own.
//!
//! A line that is no such object is output. One that is, but cannot be used, is dropped with a
//! warning, since as output it would tell the model nothing. A result that cannot be used is an
//! error of the tool: the call has nothing else to answer with.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::ask::{self, Ask};
use super::{List, Said};
use crate::protocol::content::Content;
use crate::protocol::jsonrpc::{ErrorObject, INTERNAL_ERROR, INVALID_PARAMS, read_object};
use crate::protocol::logging::{Level, LogMessage};
use crate::protocol::mcp::CallToolResult;
use crate::protocol::plain::plain;
use crate::protocol::progress::Progress;
use crate::protocol::prompts::PromptMessage;
use crate::protocol::texts::Texts;
use crate::redact::Redactor;

/// The longest message about progress or for the log, in bytes of its line.
const MAX_WORDS: usize = 64 * 1024;
/// How much of the text of a progress message is kept, in bytes: more than any client shows.
const MAX_PROGRESS_TEXT: usize = 4096;
/// How much of the name of a logger is kept, in bytes.
const MAX_LOGGER: usize = 256;
/// The codes that JSON-RPC and MCP give a meaning: clients act on them.
const RESERVED_CODES: RangeInclusive<i32> = -32_768..=-32_000;
/// How much is said about what is wrong with a message, in bytes.
const MAX_REASON: usize = 300;

/// What a line is.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// No message.
    Output,
    /// How far the tool has come.
    Progress(Progress),
    /// Something else for the client that wants no answer.
    Said(Said),
    /// Something that the client must answer, or what is wrong with it.
    Ask(Result<Ask, ask::Unusable>),
    /// The result of the call, or what is wrong with it.
    Result(Result<CallToolResult, String>),
    /// The error that the call ends with instead.
    Error(ErrorObject),
    /// The messages of a prompt, as the result of the call.
    Messages(Vec<PromptMessage>),
    /// A message that cannot be used, and why.
    Unusable(String),
}

/// Reads a line that may be a message. Its texts are without what steers a terminal.
pub(super) fn read(line: &[u8], secrets: &Redactor) -> Line {
    let mut line = parsed(line, secrets);
    line.each_text(&mut |text| {
        if let Cow::Owned(plain) = plain(text) {
            *text = plain;
        }
    });
    line.shortened(secrets)
}

impl Line {
    /// The same with as much of its words as is kept.
    fn shortened(self, secrets: &Redactor) -> Self {
        match self {
            Self::Progress(progress) => Self::Progress(Progress {
                message: progress.message.map(|text| progress_text(text, secrets)),
                ..progress
            }),
            Self::Said(Said::Log(log)) => Self::Said(Said::Log(LogMessage {
                logger: log.logger.map(|text| secrets.cut(text, MAX_LOGGER)),
                ..log
            })),
            Self::Result(Err(reason)) => Self::Result(Err(secrets.cut(reason, MAX_REASON))),
            line => line,
        }
    }
}

impl Texts for Line {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        match self {
            Self::Progress(progress) => progress.each_text(change),
            Self::Said(said) => said.each_text(change),
            Self::Result(Ok(result)) => result.each_text(change),
            Self::Error(error) => error.each_text(change),
            Self::Messages(messages) => messages.each_text(change),
            // What is asked is for a client that shows it, and what is wrong is our own words.
            Self::Ask(_) | Self::Result(Err(_)) | Self::Unusable(_) | Self::Output => {}
        }
    }
}

fn parsed(line: &[u8], secrets: &Redactor) -> Line {
    let Ok(text) = std::str::from_utf8(line) else {
        return Line::Output;
    };
    let kind = match serde_json::from_str(text) {
        Ok(Kind(Some(kind))) => kind,
        Ok(Kind(None)) | Err(_) => return Line::Output,
    };
    match kind.as_str() {
        Some("progress") => usable(progress(text).map(Line::Progress), secrets),
        Some("log") => usable(log(text).map(|log| Line::Said(Said::Log(log))), secrets),
        Some("list_changed") => usable(
            list_changed(text).map(|list| Line::Said(Said::ListChanged(list))),
            secrets,
        ),
        Some("close_stream") => usable(bare(text).map(|()| Line::Said(Said::CloseStream)), secrets),
        Some("ask") => asked(text),
        Some("error") => match error(text) {
            Ok(error) => Line::Error(error),
            Err(reason) => Line::Result(Err(reason)),
        },
        Some("result") => result(text).unwrap_or_else(|reason| Line::Result(Err(reason))),
        Some(kind) => {
            let kind = secrets.cut(kind.to_owned(), MAX_REASON);
            Line::Unusable(format!("this server knows no message `{kind}`"))
        }
        None => Line::Unusable("`mcp` must be the name of a message".to_owned()),
    }
}

fn usable(line: Result<Line, String>, secrets: &Redactor) -> Line {
    line.unwrap_or_else(|reason| Line::Unusable(secrets.cut(reason, MAX_REASON)))
}

/// True for the start of a line that was going to be a message.
pub(super) fn looks_like_one(start: &[u8]) -> bool {
    let inside = start.trim_ascii_start().strip_prefix(b"{");
    inside.is_some_and(|inside| inside.trim_ascii_start().starts_with(b"\"mcp\""))
}

/// The member `mcp` of an object. The others are only looked at as far as JSON goes.
struct Kind(Option<Value>);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut kind = None;
        while let Some(key) = map.next_key::<String>()? {
            // Of two the strict reader will complain.
            if key == "mcp" && kind.is_none() {
                kind = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Kind(kind))
    }
}

fn progress(text: &str) -> Result<Progress, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        #[serde(rename = "mcp")]
        _mcp: IgnoredAny,
        progress: Number,
        total: Option<Number>,
        message: Option<String>,
    }
    if text.len() > MAX_WORDS {
        return Err(format!("it has more than {MAX_WORDS} bytes"));
    }
    let object = Value::Object(read_object(text)?);
    let fields: Fields =
        serde_json::from_value(object).map_err(|error: serde_json::Error| error.to_string())?;
    Ok(Progress {
        progress: fields.progress,
        total: fields.total,
        message: fields.message,
    })
}

fn log(text: &str) -> Result<LogMessage, String> {
    if text.len() > MAX_WORDS {
        return Err(format!("it has more than {MAX_WORDS} bytes"));
    }
    let mut object = read_object(text)?;
    object.remove("mcp");
    let level = object.remove("level");
    let level = level
        .as_ref()
        .and_then(Value::as_str)
        .and_then(Level::parse);
    let level = level.ok_or(
        "`level` must be one of debug, info, notice, warning, error, critical, alert and emergency",
    )?;
    let logger = match object.remove("logger") {
        None | Some(Value::Null) => None,
        Some(Value::String(logger)) => Some(logger),
        Some(_) => return Err("`logger` must be a text".to_owned()),
    };
    let data = object.remove("data").ok_or("`data` is missing")?;
    refuse_others(&object, "`level`, `logger` and `data`")?;
    Ok(LogMessage {
        level,
        logger,
        data,
    })
}

fn list_changed(text: &str) -> Result<List, String> {
    let mut object = read_object(text)?;
    object.remove("mcp");
    let list = match object.remove("what").as_ref().and_then(Value::as_str) {
        Some("tools") => List::Tools,
        Some("prompts") => List::Prompts,
        Some("resources") => List::Resources,
        _ => return Err("`what` must be `tools`, `prompts` or `resources`".to_owned()),
    };
    refuse_others(&object, "`what`")?;
    Ok(list)
}

/// A message that says nothing but its name.
fn bare(text: &str) -> Result<(), String> {
    let mut object = read_object(text)?;
    object.remove("mcp");
    refuse_others(&object, "none besides `mcp`")
}

fn asked(text: &str) -> Line {
    match read_object(text) {
        Ok(mut object) => {
            object.remove("mcp");
            Line::Ask(ask::read(object))
        }
        Err(reason) => Line::Ask(Err(ask::Unusable::new(None, reason))),
    }
}

/// Checks that every key was taken out of an object.
fn refuse_others(object: &Map<String, Value>, known: &str) -> Result<(), String> {
    match object.keys().next() {
        None => Ok(()),
        Some(key) => Err(format!("it has the unknown key `{key}`; known are {known}")),
    }
}

fn result(text: &str) -> Result<Line, String> {
    let mut object = read_object(text)?;
    object.remove("mcp");
    if let Some(messages) = object.remove("messages") {
        refuse_others(&object, "`messages`")?;
        return prompt_messages(messages).map(Line::Messages);
    }
    let structured_content = object.remove("structuredContent");
    let is_error = match object.remove("isError") {
        None => false,
        Some(Value::Bool(is_error)) => is_error,
        Some(_) => return Err("`isError` must be true or false".to_owned()),
    };
    let content = content(&mut object, structured_content.as_ref())?;
    refuse_others(&object, "`content`, `structuredContent` and `isError`")?;
    Ok(Line::Result(Ok(CallToolResult {
        content,
        structured_content,
        is_error,
    })))
}

fn prompt_messages(messages: Value) -> Result<Vec<PromptMessage>, String> {
    let Value::Array(messages) = messages else {
        return Err("`messages` must be an array".to_owned());
    };
    let messages = messages.into_iter().enumerate();
    let read = messages.map(|(at, message)| {
        serde_json::from_value(message).map_err(|error| format!("messages[{at}]: {error}"))
    });
    read.collect()
}

fn error(text: &str) -> Result<ErrorObject, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        #[serde(rename = "mcp")]
        _mcp: IgnoredAny,
        code: Option<i32>,
        message: String,
        data: Option<Value>,
    }
    let object = Value::Object(read_object(text)?);
    let fields: Fields =
        serde_json::from_value(object).map_err(|error: serde_json::Error| error.to_string())?;
    let code = fields.code.unwrap_or(INTERNAL_ERROR);
    if RESERVED_CODES.contains(&code) && ![INVALID_PARAMS, INTERNAL_ERROR].contains(&code) {
        return Err(format!(
            "the code {code} has a meaning of its own; use {INVALID_PARAMS}, {INTERNAL_ERROR}, or one \
             outside of {} to {}",
            RESERVED_CODES.start(),
            RESERVED_CODES.end()
        ));
    }
    let error = ErrorObject::new(code, fields.message);
    Ok(match fields.data {
        Some(data) => error.with_data(data),
        None => error,
    })
}

/// The pieces of a result. One without pieces says its structured content as text, for the clients
/// that look at nothing else.
fn content(
    object: &mut Map<String, Value>,
    structured: Option<&Value>,
) -> Result<Vec<Content>, String> {
    match (object.remove("content"), structured) {
        (Some(Value::Array(pieces)), _) => {
            let pieces = pieces.into_iter().enumerate();
            let read = pieces.map(|(at, piece)| {
                Content::read(piece).map_err(|reason| format!("content[{at}]: {reason}"))
            });
            read.collect()
        }
        (Some(_), _) => Err("`content` must be an array".to_owned()),
        (None, Some(structured)) => Ok(vec![Content::text(structured.to_string())]),
        (None, None) => Err("it has neither `content` nor `structuredContent`".to_owned()),
    }
}

/// The text of a progress message, as much of it as is kept.
pub(super) fn progress_text(text: String, secrets: &Redactor) -> String {
    secrets.cut(text, MAX_PROGRESS_TEXT)
}

#[cfg(test)]
mod tests;
