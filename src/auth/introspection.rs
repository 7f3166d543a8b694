//! Tokens that only their authorization server can read (RFC 7662).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::authenticator::Presented;
use super::claims::BadClaim;
use super::fetch::{FetchError, Fetcher};
use super::recent::Recent;
use super::revocation::Revocation;
use super::settings::IntrospectionSettings;
use super::{Caller, jwt};
use crate::pace::Pace;
use crate::secret::SecretDigest;

/// How long a server may take to say what a token is.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How long a good token counts as good without asking again: that long a withdrawn one lives on.
const GOOD_TIME: Duration = Duration::from_secs(30);
/// How long a token that is not good is not asked about again.
const BAD_TIME: Duration = Duration::from_secs(5);
/// The most questions at once; more wait for their turn, and for no longer than for an answer.
const MAX_QUESTIONS: usize = 32;

/// A server that is asked.
#[derive(Debug)]
pub(super) struct Introspection {
    settings: IntrospectionSettings,
    /// By whom subjects are vouched for.
    issuer: Arc<str>,
    fetcher: Fetcher,
    questions: Semaphore,
    good: Recent<Good>,
    /// Apart from the others: strangers can make up as many as they like. Until when they are not
    /// asked about again.
    bad: Recent<Instant>,
    /// Whether its last answer was none.
    is_silent: AtomicBool,
    /// What the log says of tokens which it says are good, and which are not good here.
    unfit: Pace,
    /// Of all tokens that it says are good.
    pub(super) revocation: Revocation,
}

/// A token that was good when its server was asked.
#[derive(Debug)]
struct Good {
    caller: Arc<Caller>,
    until: Instant,
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
    pub(super) fn new(settings: IntrospectionSettings, fetcher: Fetcher) -> Self {
        Self {
            issuer: settings.url.as_str().into(),
            settings,
            fetcher,
            questions: Semaphore::new(MAX_QUESTIONS),
            good: Recent::default(),
            bad: Recent::default(),
            is_silent: AtomicBool::new(false),
            unfit: Pace::default(),
            revocation: Revocation::default(),
        }
    }

    /// What takes the place of an earlier one at this address. What was opened with its tokens is taken
    /// back only if they have to say something else now.
    pub(super) fn after(&self, earlier: &Arc<Self>) -> Arc<Self> {
        let (settings, before) = (&self.settings, &earlier.settings);
        if settings == before {
            return Arc::clone(earlier);
        }
        let asks_the_same =
            settings.audiences == before.audiences && settings.names == before.names;
        Arc::new(Self {
            revocation: if asks_the_same {
                earlier.revocation.clone()
            } else {
                earlier.revocation.replace()
            },
            ..Self::new(settings.clone(), self.fetcher.clone())
        })
    }

    pub(super) fn settings(&self) -> &IntrospectionSettings {
        &self.settings
    }

    /// Who it is that vouches for a caller.
    pub(super) fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// Where clients get such tokens, if they are told.
    pub(super) fn authorization_server(&self) -> Option<&str> {
        self.settings.issuer.as_deref()
    }

    /// Whom a token stands for, if the server said so of late.
    pub(super) fn known(&self, token: &SecretDigest, now: SystemTime) -> Option<Arc<Caller>> {
        self.good.get(token, |good| {
            let holds = Instant::now() < good.until && !good.caller.is_expired(now);
            holds.then(|| Arc::clone(&good.caller))
        })
    }

    fn is_bad(&self, token: &SecretDigest) -> bool {
        let holds = |until: &Instant| (Instant::now() < *until).then_some(());
        self.bad.get(token, holds).is_some()
    }

    /// Whom a token stands for; `None` if it is not good.
    pub(super) async fn ask(
        &self,
        presented: &Presented<'_>,
        now: SystemTime,
    ) -> Result<Option<Arc<Caller>>, Unanswered> {
        let digest = &presented.digest;
        // Who repeats a guess takes no turn from others.
        if self.is_bad(digest) {
            return Ok(None);
        }
        let late = |_| Unanswered::Late(self.server());
        let end = Instant::now() + ANSWER_TIME;
        // It is never closed.
        let _turn = timeout_at(end, self.questions.acquire())
            .await
            .map_err(late)?;
        // Somebody may have asked meanwhile.
        if self.is_bad(digest) {
            return Ok(None);
        }
        if let Some(caller) = self.known(digest, now) {
            return Ok(Some(caller));
        }
        let answer = timeout_at(end, self.find_out(presented, now)).await;
        let answer = answer.map_err(late).flatten();
        self.note(answer.as_ref().err());
        answer
    }

    /// Says in the log when the server answers no more, and when it does again.
    fn note(&self, error: Option<&Unanswered>) {
        let was_silent = self.is_silent.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_silent => {
                tracing::warn!(%error, "tokens cannot be checked: introspection fails");
            }
            None if was_silent => {
                tracing::info!(server = self.server(), "introspection works again");
            }
            _ => {}
        }
    }

    /// Asks the server, and remembers what it says.
    async fn find_out(
        &self,
        Presented { token, digest }: &Presented<'_>,
        now: SystemTime,
    ) -> Result<Option<Arc<Caller>>, Unanswered> {
        let asked = Instant::now();
        let answer = self.answer(token).await?;
        let caller = self.read(&answer, now)?.map(Arc::new);
        if let Some(caller) = &caller {
            let (caller, until) = (Arc::clone(caller), asked + GOOD_TIME);
            let is_over = |good: &Good| good.until <= asked;
            (self.good).put(digest.clone(), Good { caller, until }, is_over);
        } else {
            let is_over = |until: &Instant| *until <= asked;
            (self.bad).put(digest.clone(), asked + BAD_TIME, is_over);
        }
        Ok(caller)
    }

    async fn answer(&self, token: &str) -> Result<Vec<u8>, Unanswered> {
        let IntrospectionSettings {
            url, authorization, ..
        } = &self.settings;
        let asked = self.fetcher.post(url, authorization, question(token));
        Ok(asked.await?)
    }

    /// Whom an answer is about; `None` if it says that the token is not good, or not for us.
    fn read(&self, answer: &[u8], now: SystemTime) -> Result<Option<Caller>, Unanswered> {
        let unreadable = || Unanswered::Unreadable(self.server());
        let claims: Map<String, Value> =
            serde_json::from_slice(answer).map_err(|_| unreadable())?;
        let is_active = claims.get("active").and_then(Value::as_bool);
        if !is_active.ok_or_else(unreadable)? {
            return Ok(None);
        }
        let caller = self.caller(claims, now);
        if let Err(reason) = &caller
            && let Some(held_back) = self.unfit.pass(Instant::now())
        {
            let server = self.server();
            tracing::warn!(server, %reason, held_back, "an active token is not good here");
        }
        Ok(caller.ok())
    }

    /// Whom an active token stands for.
    fn caller(&self, claims: Map<String, Value>, now: SystemTime) -> Result<Caller, Unfit> {
        let IntrospectionSettings {
            audiences, names, ..
        } = &self.settings;
        let reach = audiences.reach(&claims).ok_or(Unfit::Audience)?;
        let expires = claims
            .get("exp")
            .filter(|exp| !exp.is_null())
            .map(|exp| jwt::numeric_date(exp).ok_or(Unfit::Expiry));
        let expires = expires.transpose()?;
        if expires.is_some_and(|expires| expires <= now) {
            return Err(Unfit::Expired);
        }
        let caller = names.caller(&self.issuer, claims, expires)?;
        Ok(Caller {
            reach,
            revocation: self.revocation.clone(),
            ..caller
        })
    }

    /// The server, as a log names it.
    fn server(&self) -> String {
        self.settings.url.origin().ascii_serialization()
    }
}

/// What a server is asked (section 2.1).
fn question(token: &str) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("token", token);
    form.append_pair("token_type_hint", "access_token");
    form.finish()
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
