//! One API as calls use it: its connections, its token, and whether it is worth a try.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use reqwest::{Client, Response};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::breaker::Breaker;
use super::client;
use super::failure::Failure;
use super::token::Tokens;
use crate::catalog::{Api, Auth, Request};
use crate::protocol::trace::TraceContext;

/// What the calls of an API share.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) api: Arc<Api>,
    client: OnceCell<Client>,
    breaker: Breaker,
    tokens: Tokens,
    lookups: Arc<Semaphore>,
}

impl Upstream {
    /// Nothing is connected yet.
    pub(super) fn new(api: Arc<Api>, lookups: Arc<Semaphore>) -> Self {
        Self {
            api,
            client: OnceCell::new(),
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
    ) -> Result<Response, Failure> {
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
    ) -> Result<Response, Failure> {
        let client = self.client().await?;
        let mut headers = request.headers.clone();
        add_trace(&mut headers, trace);
        let credentials = match &self.api.auth {
            Auth::None => return self.exchange(client, request, headers).await,
            Auth::Header(name, value) => {
                headers.insert(name, value.clone());
                return self.exchange(client, request, headers).await;
            }
            Auth::ClientCredentials(credentials) => credentials,
        };
        let token = self.tokens.get(client, credentials).await?;
        headers.insert(AUTHORIZATION, token.clone());
        let response = self.exchange(client, request, headers.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // The token may have been revoked. What was refused was not done, so it can be asked again.
        self.tokens.forget(&token);
        let token = self.tokens.get(client, credentials).await?;
        headers.insert(AUTHORIZATION, token);
        self.exchange(client, request, headers).await
    }

    /// Sends a request, and once more if its connection was closed without an answer and that is
    /// harmless (RFC 9110, 9.2.2).
    async fn exchange(
        &self,
        client: &Client,
        request: &Request,
        headers: HeaderMap,
    ) -> Result<Response, Failure> {
        let first = self.once(client, request, headers.clone()).await;
        match first {
            Err(Failure::Closed) if request.method.is_idempotent() => {
                self.once(client, request, headers).await
            }
            other => other,
        }
    }

    async fn once(
        &self,
        client: &Client,
        request: &Request,
        headers: HeaderMap,
    ) -> Result<Response, Failure> {
        let mut sent = reqwest::Request::new(request.method.clone(), request.url.clone());
        *sent.headers_mut() = headers;
        *sent.body_mut() = request.body.clone().map(Into::into);
        let silent = Failure::Silent(self.api.timeout);
        let response = tokio::time::timeout(self.api.timeout, client.execute(sent));
        let response = response.await.map_err(|_| silent)?;
        response.map_err(|error| {
            let failure = Failure::from(&error);
            let error = error.without_url();
            tracing::warn!(api = self.api.name, ?error, "a request failed");
            failure
        })
    }

    async fn client(&self) -> Result<&Client, Failure> {
        let made = self.client.get_or_try_init(|| async {
            let (api, lookups) = (Arc::clone(&self.api), Arc::clone(&self.lookups));
            let made = tokio::task::spawn_blocking(move || client::build(&api, lookups));
            let made = made.await.map_err(|error| {
                tracing::error!(api = self.api.name, %error, "a client cannot be made");
                Failure::Unable
            })?;
            made.map_err(|error| {
                tracing::error!(api = self.api.name, ?error, "a client cannot be made");
                Failure::Unable
            })
        });
        made.await
    }
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
