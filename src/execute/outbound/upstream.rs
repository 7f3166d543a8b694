//! One API as calls use it: its connections, its token, and whether it is worth a try.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::Response;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::client::{Client, Connections};
use super::failure::Failure;
use super::token::Tokens;
use crate::catalog::{Api, Auth, Credential, Request};
use crate::protocol::trace::TraceContext;
use crate::redact::Redactor;

/// What the calls of an API share.
#[derive(Debug)]
pub(super) struct Upstream {
    client: OnceCell<Client>,
    /// For a request whose connection was closed: all that wait may have the same fate.
    fresh: OnceCell<Client>,
    breaker: Breaker,
    tokens: Tokens,
    lookups: Arc<Semaphore>,
}

/// A response that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) response: Response,
    /// Hides the credential that it was asked for with.
    pub(super) redactor: Redactor,
}

impl Upstream {
    /// Nothing is connected yet.
    pub(super) fn new(lookups: Arc<Semaphore>) -> Self {
        Self {
            client: OnceCell::new(),
            fresh: OnceCell::new(),
            breaker: Breaker::new(),
            tokens: Tokens::new(),
            lookups,
        }
    }

    /// Sends a request, and returns once its response begins.
    pub(super) async fn send(
        &self,
        request: &Request,
        trace: Option<&TraceContext>,
        deadline: Instant,
    ) -> Result<Begun, Failure> {
        let attempt = self.breaker.attempt(Instant::now())?;
        let answered = tokio::time::timeout_at(deadline, self.authenticated(request, trace));
        let answered = answered.await.unwrap_or(Err(Failure::NoTime));
        match &answered {
            Err(failure) if failure.is_outage() => attempt.failed(Instant::now()),
            Ok(_) | Err(Failure::Closed | Failure::Invalid) => attempt.succeeded(Instant::now()),
            Err(_) => {}
        }
        answered
    }

    async fn authenticated(
        &self,
        request: &Request,
        trace: Option<&TraceContext>,
    ) -> Result<Begun, Failure> {
        let mut headers = request.headers.clone();
        add_trace(&mut headers, trace);
        let credentials = match &request.api.auth {
            Auth::None => {
                return Ok(Begun {
                    response: self.exchange(request, headers).await?,
                    redactor: Redactor::default(),
                });
            }
            Auth::Header(name, credential) => {
                return self.shown(request, headers, name, credential).await;
            }
            Auth::ClientCredentials(credentials) => credentials,
        };
        let client = self.client(&request.api).await?;
        let token = self.tokens.get(client, credentials).await?;
        let first = self.shown(request, headers.clone(), &AUTHORIZATION, &token);
        let first = first.await?;
        if first.response.status() != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        // The token may have been revoked. What was refused was not done, so it can be asked again.
        self.tokens.forget(&token);
        let token = self.tokens.get(client, credentials).await?;
        self.shown(request, headers, &AUTHORIZATION, &token).await
    }

    /// Sends a request with a credential.
    async fn shown(
        &self,
        request: &Request,
        mut headers: HeaderMap,
        name: &HeaderName,
        credential: &Credential,
    ) -> Result<Begun, Failure> {
        headers.insert(name, credential.header().clone());
        Ok(Begun {
            response: self.exchange(request, headers).await?,
            redactor: credential.redactor().clone(),
        })
    }

    /// Sends a request, and once more if its connection was closed without an answer and that is
    /// harmless (RFC 9110, 9.2.2).
    async fn exchange(&self, request: &Request, headers: HeaderMap) -> Result<Response, Failure> {
        let client = self.client(&request.api).await?;
        let first = once(client, request, headers.clone()).await;
        match first {
            Err(Failure::Closed) if request.method.is_idempotent() => {
                let fresh = self.made(&self.fresh, &request.api, Connections::Fresh);
                once(fresh.await?, request, headers).await
            }
            other => other,
        }
    }

    async fn client(&self, api: &Arc<Api>) -> Result<&Client, Failure> {
        self.made(&self.client, api, Connections::Kept).await
    }

    async fn made<'a>(
        &self,
        cell: &'a OnceCell<Client>,
        api: &Arc<Api>,
        connections: Connections,
    ) -> Result<&'a Client, Failure> {
        let made = cell.get_or_try_init(|| async {
            let (of, lookups) = (Arc::clone(api), Arc::clone(&self.lookups));
            let made = tokio::task::spawn_blocking(move || Client::new(&of, connections, lookups));
            let made = made.await.map_err(|error| {
                tracing::error!(api = api.name, %error, "a client cannot be made");
                Failure::Unable
            })?;
            made.map_err(|error| {
                tracing::error!(api = api.name, ?error, "a client cannot be made");
                Failure::Unable
            })
        });
        made.await
    }
}

async fn once(client: &Client, request: &Request, headers: HeaderMap) -> Result<Response, Failure> {
    let api = &request.api;
    let mut sent = reqwest::Request::new(request.method.clone(), request.url.clone());
    *sent.headers_mut() = headers;
    *sent.body_mut() = request.body.clone().map(Into::into);
    let response = tokio::time::timeout(api.timeout, client.execute(sent));
    let response = response.await.map_err(|_| Failure::Silent(api.timeout))?;
    response.map_err(|error| {
        let failure = Failure::from(&error);
        let error = error.without_url();
        let server = request.url.origin().ascii_serialization();
        tracing::warn!(api = api.name, server, ?error, "a request failed");
        failure
    })
}

/// Says where in a trace the request stands.
fn add_trace(headers: &mut HeaderMap, trace: Option<&TraceContext>) {
    let state = trace.and_then(|trace| trace.state.as_ref());
    let parts = [
        ("traceparent", trace.map(|trace| &trace.parent)),
        ("tracestate", state),
    ];
    for (name, text) in parts {
        let value = text.and_then(|text| HeaderValue::from_str(text).ok());
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
