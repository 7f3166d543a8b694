//! From a response to what the model is told.

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use reqwest::Response;
use serde_json::Value;

use super::Sent;
use super::failure::Failure;
use super::upstream::Begun;
use crate::catalog::{Form, Tool};
use crate::execute::kept::{Beyond, Kept, Rest};
use crate::execute::stdout::Printed;
use crate::execute::{Outcome, output, report};
use crate::protocol::content::{Content, Uri};
use crate::protocol::mcp::CallToolResult;
use crate::protocol::media::MediaType;
use crate::protocol::plain::plain;
use crate::redact::Redactor;

/// How much of the body of an error is told, in bytes from its beginning.
const MAX_ERROR_BODY: usize = 4096;
/// The longest `Retry-After` that is repeated, in bytes: a date has 29.
const MAX_RETRY_AFTER: usize = 40;

/// A body, or its first part.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// There was more than fits.
    is_cut: bool,
    /// All of it, if that is kept.
    rest: Rest,
}

/// A response that has arrived.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    media: Option<MediaType>,
    retry_after: Option<String>,
    body: Body,
    /// Hides the credential that it was asked for with.
    redactor: Redactor,
}

impl Body {
    /// Reads a body, decoded, as far as it is kept.
    pub(super) async fn read(response: &mut Response, mut kept: Kept) -> Result<Self, Failure> {
        let mut is_cut = false;
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            is_cut = kept.push(&chunk).is_err();
            while let (false, Some(spill)) = (is_cut, kept.spill()) {
                is_cut = spill.write().await.is_err();
            }
            if is_cut {
                break;
            }
        }
        let (bytes, rest) = kept.into_output();
        Ok(Self {
            bytes,
            is_cut,
            rest,
        })
    }
}

fn broken(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    tracing::warn!(?error, "the body of a response broke off");
    Failure::Broken
}

impl Answer {
    /// Reads a response: as much as the tool may give, or as is told of an error.
    pub(super) async fn read(begun: Begun, body: Kept) -> Result<Self, Failure> {
        let Begun {
            mut response,
            redactor,
        } = begun;
        let status = response.status();
        let text = |name| text_of(response.headers(), &name);
        let (media, retry_after) = (text(CONTENT_TYPE), text(RETRY_AFTER));
        let body = if status.is_success() {
            body
        } else {
            Kept::new(MAX_ERROR_BODY, Beyond::Nothing)
        };
        Ok(Self {
            status,
            media: media.as_deref().and_then(MediaType::parse),
            retry_after: retry_after.filter(|text| text.len() <= MAX_RETRY_AFTER),
            body: Body::read(&mut response, body).await?,
            redactor,
        })
    }

    /// What the call of a tool gives.
    pub(super) fn sent(self, tool: &Tool, api: &str, method: &Method) -> Sent {
        if !self.status.is_success() {
            return Sent::Outcome(report::failed(self.error(tool, api), "error response"));
        }
        Sent::Outcome(match tool.output.form {
            Form::Raw if self.body.is_cut => {
                let text = format!("{api} answered with more than {} bytes", tool.max_output);
                report::failed(text, "too much output")
            }
            Form::Raw => Outcome::Bytes(self.body.bytes),
            _ if self.is_empty(method) => done(CallToolResult::text(words(self.status))),
            _ if self.body.is_cut => Outcome::Result {
                result: self.cut(tool, api),
                how: "too much output".into(),
            },
            Form::Response if self.is_whole() => done(self.by_media(tool)),
            _ => return Sent::Body(Box::new(self.printed(tool))),
        })
    }

    /// Whether a result can hold it.
    fn is_whole(&self) -> bool {
        matches!(self.body.rest, Rest::Nothing)
    }

    /// A body that is handled as an output.
    fn printed(self, tool: &Tool) -> Printed {
        Printed {
            output: self.body.bytes,
            rest: self.body.rest,
            media: self.media.filter(|_| tool.output.form == Form::Response),
            credential: self.redactor,
            ..Printed::default()
        }
    }

    /// Whether there is nothing to make a result of.
    fn is_empty(&self, method: &Method) -> bool {
        let has_none = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT];
        let is_empty = self.body.bytes.is_empty() && !self.body.is_cut;
        *method == Method::HEAD || has_none.contains(&self.status) || is_empty
    }

    /// What is told of a response that is no success.
    fn error(&self, tool: &Tool, api: &str) -> String {
        let status = words(self.status);
        let redirected = if self.status.is_redirection() {
            ", and was not followed there"
        } else {
            ""
        };
        let wait = self.retry_after.as_ref().map(|retry_after| {
            let is_number = retry_after.bytes().all(|byte| byte.is_ascii_digit());
            let unit = if is_number { " s" } else { "" };
            format!("; try again after {retry_after}{unit}")
        });
        let wait = wait.unwrap_or_default();
        let secrets = tool.secrets().and(&self.redactor);
        let said = self.said(&secrets).unwrap_or_default();
        format!("{api} answered {status}{redirected}{wait}{said}")
    }

    /// The text that an error brings, on lines of its own.
    fn said(&self, secrets: &Redactor) -> Option<String> {
        let is_text = self.media.as_ref().is_none_or(MediaType::is_text);
        let mut body = self.body.bytes.as_slice();
        if self.body.is_cut {
            body = secrets.cut_end(body);
        }
        let body = String::from_utf8_lossy(body);
        let body = plain(body.trim());
        let end = if self.body.is_cut { "…" } else { "" };
        (is_text && !body.is_empty()).then(|| format!(":\n{body}{end}"))
    }

    /// The result that the media type asks for.
    fn by_media(self, tool: &Tool) -> CallToolResult {
        let media = self.media.unwrap_or_else(MediaType::text);
        if media.is_json()
            && let Ok(value) = serde_json::from_slice::<Value>(&self.body.bytes)
        {
            let text = String::from_utf8_lossy(&self.body.bytes);
            return CallToolResult {
                structured_content: Some(value),
                ..CallToolResult::text(text.trim())
            };
        }
        let piece = if media.is_text() {
            Content::text(output::with_notes(&self.body.bytes, None))
        } else {
            Content::of_bytes(&self.body.bytes, &media, Uri::of_tool(&tool.name))
        };
        CallToolResult {
            content: vec![piece],
            structured_content: None,
            is_error: false,
        }
    }

    /// The result of a body that is larger than the tool may give.
    fn cut(self, tool: &Tool, api: &str) -> CallToolResult {
        let is_useless = |media: &MediaType| !media.is_text() || media.is_json();
        if let (Form::Response, Some(media)) = (&tool.output.form, self.media.filter(is_useless)) {
            return CallToolResult::error(format!(
                "{api} answered with more than {} bytes of {}; ask for less",
                tool.max_output,
                media.as_str()
            ));
        }
        let printed = Printed {
            output: self.body.bytes,
            credential: self.redactor,
            ..Printed::default()
        };
        output::cut(tool, &printed)
    }
}

fn done(result: CallToolResult) -> Outcome {
    Outcome::Result {
        how: if result.is_error {
            "error result"
        } else {
            "ok"
        }
        .into(),
        result,
    }
}

/// Writes `404 Not Found`; the words are those of HTTP, never the server's.
fn words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}
