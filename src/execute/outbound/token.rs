//! Tokens by client credentials (RFC 6749, 4.4): asked for when they are needed, and once for all
//! calls.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use reqwest::Request;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer::Body;
use super::client::Client;
use super::failure::Failure;
use crate::catalog::{ClientCredentials, Credential};
use crate::execute::kept::{Beyond, Kept};

/// How long a request for a token may take.
const TOKEN_TIME: Duration = Duration::from_secs(10);
/// How large an answer with a token may be, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// The longest token, in bytes: servers commonly refuse more in a header.
const MAX_TOKEN: usize = 8 * 1024;
/// How long a token is used of which nobody says how long it lives.
const UNKNOWN_LIFE: Duration = Duration::from_mins(5);
/// How long before its end a token is not used any more: requests take time, and clocks differ.
const MARGIN: Duration = Duration::from_secs(30);
/// The longest life that counts: longer than anybody keeps a process.
const MAX_LIFE: Duration = Duration::from_hours(366 * 24);

/// The token of an API.
#[derive(Debug)]
pub(super) struct Tokens {
    /// One call asks for a token, and the others wait for it.
    turn: Semaphore,
    current: Mutex<Option<Token>>,
}

#[derive(Debug)]
struct Token {
    credential: Credential,
    until: Instant,
}

impl Tokens {
    /// There is none yet.
    pub(super) fn new() -> Self {
        Self {
            turn: Semaphore::new(1),
            current: Mutex::new(None),
        }
    }

    /// A header with a token that is valid; it is asked for if there is none.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, the next call asks.
    pub(super) async fn get(
        &self,
        client: &Client,
        credentials: &ClientCredentials,
    ) -> Result<Credential, Failure> {
        if let Some(valid) = self.valid() {
            return Ok(valid);
        }
        let _turn = self.turn.acquire().await;
        if let Some(valid) = self.valid() {
            return Ok(valid);
        }
        let fetched = tokio::time::timeout(TOKEN_TIME, fetch(client, credentials)).await;
        let silent = || Failure::NoToken(Box::new(Failure::Silent(TOKEN_TIME)));
        let token = fetched.unwrap_or_else(|_| Err(silent()))?;
        let credential = token.credential.clone();
        *self.current.lock() = Some(token);
        Ok(credential)
    }

    /// Forgets a token that was refused, unless there is a newer one already.
    pub(super) fn forget(&self, refused: &Credential) {
        let mut current = self.current.lock();
        current.take_if(|token| token.credential.header() == refused.header());
    }

    fn valid(&self) -> Option<Credential> {
        let current = self.current.lock();
        let token = current.as_ref()?;
        (Instant::now() < token.until).then(|| token.credential.clone())
    }
}

async fn fetch(client: &Client, credentials: &ClientCredentials) -> Result<Token, Failure> {
    let asked = Instant::now();
    let no_token = |failure| Failure::NoToken(Box::new(failure));
    let response = client.execute(request(credentials)).await;
    let mut response = response.map_err(|error| {
        let failure = Failure::from(&error);
        let error = error.without_url();
        let server = credentials.token_url.origin().ascii_serialization();
        tracing::warn!(server, ?error, "no token could be fetched");
        no_token(failure)
    })?;
    let status = response.status();
    let body = Body::read(&mut response, Kept::new(MAX_ANSWER, Beyond::Nothing));
    let body = body.await.map_err(no_token)?;
    if !status.is_success() {
        let mut refusal = refusal(status, &body.bytes);
        credentials.authorization.redactor().clean(&mut refusal);
        return Err(Failure::UselessToken(refusal));
    }
    let granted: Option<Granted> = serde_json::from_slice(&body.bytes).ok();
    let useless = |reason: &str| Failure::UselessToken(format!("the token server {reason}"));
    let granted = granted.ok_or_else(|| useless("answered without a token"))?;
    let credential = granted.credential();
    Ok(Token {
        credential: credential.ok_or_else(|| useless("gave no bearer token"))?,
        until: asked + granted.life().saturating_sub(MARGIN),
    })
}

fn request(credentials: &ClientCredentials) -> Request {
    let mut request = Request::new(Method::POST, credentials.token_url.clone());
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    let json = HeaderValue::from_static("application/json");
    let authorization = credentials.authorization.header().clone();
    let headers = [
        (AUTHORIZATION, authorization),
        (CONTENT_TYPE, form),
        (ACCEPT, json),
    ];
    request.headers_mut().extend(headers);
    *request.body_mut() = Some(credentials.form.clone().into());
    request
}

/// What the token server says of its refusal: the code of RFC 6749, 5.2, and no text.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let code = parsed.as_ref().and_then(|body| body.get("error")?.as_str());
    let is_word = |text: &&str| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        text.len() <= 64 && text.bytes().all(is_letter)
    };
    match code.filter(is_word) {
        Some(code) => format!("the token server answered {status} ({code})"),
        None => format!("the token server answered {status}"),
    }
}

/// What a token server grants (RFC 6749, 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    /// In seconds; some write a text.
    expires_in: Option<Value>,
}

impl Granted {
    fn credential(&self) -> Option<Credential> {
        let is_bearer = self.token_type.eq_ignore_ascii_case("bearer");
        let is_short = self.access_token.len() <= MAX_TOKEN;
        if !is_bearer || !is_short {
            return None;
        }
        Credential::new(&format!("Bearer {}", self.access_token), &self.access_token)
    }

    fn life(&self) -> Duration {
        let seconds = match &self.expires_in {
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_u64(),
            None => None,
        };
        seconds
            .map_or(UNKNOWN_LIFE, Duration::from_secs)
            .min(MAX_LIFE)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn granted(kind: &str, expires_in: &Value) -> Granted {
        let granted = json!({"access_token": "x", "token_type": kind, "expires_in": expires_in});
        serde_json::from_value(granted).unwrap()
    }

    #[test]
    fn the_life_of_a_token_may_be_written_in_two_ways() {
        let cases = [
            (json!(3600), Duration::from_hours(1)),
            (json!("60"), Duration::from_mins(1)),
            (json!(null), UNKNOWN_LIFE),
            (json!(-1), UNKNOWN_LIFE),
            (json!(u64::MAX), MAX_LIFE),
        ];
        for (expires_in, expected) in cases {
            assert_eq!(
                granted("Bearer", &expires_in).life(),
                expected,
                "{expires_in}"
            );
        }
    }

    #[test]
    fn only_bearer_tokens_are_used() {
        for (kind, expected) in [("Bearer", true), ("bearer", true), ("mac", false)] {
            let credential = granted(kind, &json!(60)).credential();
            assert_eq!(credential.is_some(), expected, "{kind}");
            assert!(credential.is_none_or(|credential| credential.header().is_sensitive()));
        }
    }

    #[test]
    fn only_the_code_of_a_refusal_is_told() {
        let status = StatusCode::BAD_REQUEST;
        let cases: [(&[u8], &str); 3] = [
            (
                br#"{"error":"invalid_client","error_description":"s3cr3t"}"#,
                " (invalid_client)",
            ),
            (br#"{"error":"See s3cr3t!"}"#, ""),
            (b"<html>s3cr3t", ""),
        ];
        for (body, expected) in cases {
            let expected = format!("the token server answered 400 Bad Request{expected}");
            assert_eq!(refusal(status, body), expected);
        }
    }
}
