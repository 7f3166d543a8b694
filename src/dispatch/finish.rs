//! From what a call gave to the reply of the request that it was made for.

use serde_json::value::RawValue;

use super::{Purpose, Reading, call_result, completion, encode};
use crate::catalog::{Catalog, Prompt};
use crate::protocol::content::{Content, Resource, Role};
use crate::protocol::jsonrpc::{ErrorObject, INTERNAL_ERROR};
use crate::protocol::mcp::CallToolResult;
use crate::protocol::plain::plain;
use crate::protocol::prompts::{GetPromptResult, PromptMessage};
use crate::protocol::resources::ReadResourceResult;
use crate::protocol::version::ProtocolVersion;

/// How much of a failure a client is told, in bytes from its end.
const MAX_FAILURE: usize = 8 * 1024;

/// What a call gave.
#[derive(Debug)]
pub enum Answer {
    /// The result of a tool, or what stands for one.
    Result(CallToolResult),
    /// The messages of a prompt.
    Messages(Vec<PromptMessage>),
    /// Bytes, of which the purpose of the call makes something.
    Bytes(Vec<u8>),
}

impl Answer {
    /// Leaves nothing in it that the version does not have.
    fn suit(&mut self, version: ProtocolVersion) {
        match self {
            Self::Result(result) => {
                for piece in &mut result.content {
                    piece.suit(version);
                }
            }
            Self::Messages(messages) => {
                for message in messages {
                    message.content.suit(version);
                }
            }
            Self::Bytes(_) => {}
        }
    }
}

/// Encodes what a call gave as the result of the request that it was made for.
///
/// # Errors
///
/// `-32603` if the call failed and the request has no other way to say so, or gave what is no
/// answer to it.
pub fn finish(
    version: ProtocolVersion,
    purpose: &Purpose,
    mut answer: Answer,
    catalog: &Catalog,
) -> Result<Box<RawValue>, ErrorObject> {
    let era = version.era();
    answer.suit(version);
    match purpose {
        Purpose::Tool => call_result(era, tool_result(answer), catalog),
        Purpose::Prompt(prompt) => {
            let result = GetPromptResult {
                description: &prompt.description,
                messages: messages(prompt, answer)?,
            };
            encode(era, &result, None, catalog)
        }
        Purpose::Resource(reading) => {
            let result = ReadResourceResult {
                contents: contents(reading, answer)?,
            };
            encode(era, &result, Some(reading.caching), catalog)
        }
        Purpose::Completion { typed } => {
            let text = text(answer)?;
            let candidates = text.lines().map(str::trim_end);
            let candidates = candidates.filter(|candidate| !candidate.is_empty());
            let result = completion::candidates(candidates, typed.as_deref());
            encode(era, &result, None, catalog)
        }
    }
}

fn tool_result(answer: Answer) -> CallToolResult {
    match answer {
        Answer::Result(result) => result,
        Answer::Bytes(bytes) => CallToolResult::text(String::from_utf8_lossy(&bytes)),
        Answer::Messages(_) => {
            CallToolResult::error("the tool gave the messages of a prompt, and is none")
        }
    }
}

/// What a program prints, and each piece of a result, is a message of the user's; the messages of a
/// definition have their roles.
fn messages(prompt: &Prompt, answer: Answer) -> Result<Vec<PromptMessage>, ErrorObject> {
    match answer {
        Answer::Messages(messages) => Ok(messages),
        Answer::Bytes(bytes) => Ok(vec![PromptMessage {
            role: Role::User,
            content: Content::text(plain(&String::from_utf8_lossy(&bytes))),
        }]),
        Answer::Result(result) => {
            let roles = prompt.roles.iter().copied();
            let roles = roles.chain(std::iter::repeat(Role::User));
            let messages = roles.zip(succeeded(result)?);
            Ok(messages
                .map(|(role, content)| PromptMessage { role, content })
                .collect())
        }
    }
}

/// MCP 2026-07-28, Resources, Error Handling: MUST NOT be empty.
fn contents(reading: &Reading, answer: Answer) -> Result<Vec<Resource>, ErrorObject> {
    let media = reading.media.as_ref();
    let uri = || reading.uri.clone();
    let contents: Vec<_> = match answer {
        Answer::Bytes(bytes) => vec![Resource::of_any_bytes(bytes, media, uri())],
        Answer::Messages(_) => return Err(not_an_answer()),
        Answer::Result(result) => {
            let pieces = succeeded(result)?.into_iter().map(|piece| match piece {
                Content::Text { text, .. } => Ok(Resource::text(text, media, uri())),
                Content::Image {
                    data, mime_type, ..
                }
                | Content::Audio {
                    data, mime_type, ..
                } => Ok(Resource::blob(data, mime_type, uri())),
                Content::Resource { resource, .. } => Ok(resource),
                Content::ResourceLink { .. } => Err(not_an_answer()),
            });
            pieces.collect::<Result<_, _>>()?
        }
    };
    if contents.is_empty() {
        return Err(not_an_answer());
    }
    Ok(contents)
}

/// What was printed, or else the text of a result.
fn text(answer: Answer) -> Result<String, ErrorObject> {
    match answer {
        Answer::Bytes(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Answer::Result(result) => Ok(all_text(&succeeded(result)?)),
        Answer::Messages(_) => Err(not_an_answer()),
    }
}

fn succeeded(result: CallToolResult) -> Result<Vec<Content>, ErrorObject> {
    if !result.is_error {
        return Ok(result.content);
    }
    let mut text = all_text(&result.content);
    let excess = text.len().saturating_sub(MAX_FAILURE);
    text.drain(..text.ceil_char_boundary(excess));
    Err(ErrorObject::new(INTERNAL_ERROR, text))
}

fn all_text(pieces: &[Content]) -> String {
    let texts = pieces.iter().filter_map(|piece| match piece {
        Content::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn not_an_answer() -> ErrorObject {
    let text = "Internal error: what stands behind it gave no answer to this request";
    ErrorObject::new(INTERNAL_ERROR, text)
}
