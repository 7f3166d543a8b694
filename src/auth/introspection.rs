//! Tokens that only their authorization server can read (RFC 7662).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::claims::{BadClaim, ClaimNames};
use super::fetch::{FetchError, Fetcher};
use super::{Caller, jwt};
use crate::secret::SecretDigest;

/// How long a server may take to say what a token is.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How long a good token counts as good without asking again: that long a withdrawn one lives on.
const GOOD_TIME: Duration = Duration::from_secs(30);
/// How long a token that is not good is not asked about again.
const BAD_TIME: Duration = Duration::from_secs(5);
/// The most tokens of which the answer is remembered.
const MAX_FINDINGS: usize = 10_000;
/// The most questions at once; more wait for their turn, and for no longer than for an answer.
const MAX_QUESTIONS: usize = 32;

/// A server that is asked.
#[derive(Debug)]
pub(super) struct Introspection {
    pub(super) url: Url,
    /// How this server says who it is.
    pub(super) authorization: HeaderValue,
    /// Of these `aud` must name one, if there are any.
    pub(super) audiences: Vec<String>,
    pub(super) names: ClaimNames,
    pub(super) fetcher: Fetcher,
    pub(super) memory: Memory,
}

/// What was answered of late.
#[derive(Debug)]
pub(super) struct Memory {
    findings: Mutex<HashMap<SecretDigest, Finding>>,
    questions: Semaphore,
}

#[derive(Debug, Clone)]
struct Finding {
    /// `None` for a token that is not good.
    caller: Option<Arc<Caller>>,
    until: Instant,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            findings: Mutex::default(),
            questions: Semaphore::new(MAX_QUESTIONS),
        }
    }
}

/// Why nobody knows whether a token is good.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0} did not answer within {seconds} s", seconds = ANSWER_TIME.as_secs())]
    Late(String),
    #[error("{0} answered with something else than RFC 7662 says")]
    Unreadable(String),
}

impl Introspection {
    /// Whom a token stands for; `None` if it is not good. The same token is not asked about again
    /// for a while.
    pub(super) async fn ask(
        &self,
        token: &str,
        digest: &SecretDigest,
        now: SystemTime,
    ) -> Result<Option<Arc<Caller>>, Unanswered> {
        if let Some(caller) = self.memory.get(digest, now) {
            return Ok(caller);
        }
        let server = || self.url.origin().ascii_serialization();
        let asked = tokio::time::timeout(ANSWER_TIME, self.answer(token)).await;
        let answer = asked.map_err(|_| Unanswered::Late(server()))??;
        let unreadable = || Unanswered::Unreadable(server());
        let claims: Map<String, Value> =
            serde_json::from_slice(&answer).map_err(|_| unreadable())?;
        let is_active = claims.get("active").and_then(Value::as_bool);
        let caller = if is_active.ok_or_else(unreadable)? {
            self.caller(claims, now)
                .inspect_err(|error| {
                    tracing::warn!(server = server(), %error, "a token is active, and not good here");
                })
                .ok()
        } else {
            None
        };
        let caller = caller.map(Arc::new);
        self.memory.put(digest.clone(), caller.clone());
        Ok(caller)
    }

    async fn answer(&self, token: &str) -> Result<Vec<u8>, Unanswered> {
        // It is never closed.
        let _turn = self.memory.questions.acquire().await;
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token);
        form.append_pair("token_type_hint", "access_token");
        let asked = self
            .fetcher
            .post(&self.url, &self.authorization, form.finish(), ANSWER_TIME);
        Ok(asked.await?)
    }

    /// Whom an active token stands for.
    fn caller(&self, claims: Map<String, Value>, now: SystemTime) -> Result<Caller, Unfit> {
        if !self.audiences.is_empty() && !jwt::is_for(&self.audiences, &claims) {
            return Err(Unfit::Audience);
        }
        let expires = claims
            .get("exp")
            .map(|exp| jwt::numeric_date(exp).ok_or(Unfit::Expiry));
        let expires = expires.transpose()?;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Unfit::Expired);
        }
        let issuer = Arc::from(self.url.as_str());
        let caller = self.names.caller(&issuer, claims, expires)?;
        Ok(caller)
    }
}

/// Why an active token is not good here.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("its `aud` names none of the audiences")]
    Audience,
    #[error("its `exp` is not a time")]
    Expiry,
    #[error("its `exp` is over")]
    Expired,
    #[error(transparent)]
    Identity(#[from] BadClaim),
}

impl Memory {
    #[expect(
        clippy::option_option,
        reason = "nothing known, and known to be nobody"
    )]
    fn get(&self, token: &SecretDigest, now: SystemTime) -> Option<Option<Arc<Caller>>> {
        let findings = self.findings.lock();
        let finding = findings.get(token)?;
        let is_over = |caller: &Arc<Caller>| caller.is_expired(now);
        let holds = Instant::now() < finding.until && !finding.caller.as_ref().is_some_and(is_over);
        holds.then(|| finding.caller.clone())
    }

    /// Findings that are over make room, or else any one.
    fn put(&self, token: SecretDigest, caller: Option<Arc<Caller>>) {
        let now = Instant::now();
        let mut findings = self.findings.lock();
        if findings.len() >= MAX_FINDINGS {
            findings.retain(|_, finding| now < finding.until);
            if findings.len() >= MAX_FINDINGS {
                let any = findings.keys().next().cloned();
                any.and_then(|any| findings.remove(&any));
            }
        }
        let time = if caller.is_some() {
            GOOD_TIME
        } else {
            BAD_TIME
        };
        let until = now + time;
        findings.insert(token, Finding { caller, until });
    }
}
