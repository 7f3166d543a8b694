//! MCP over HTTP: the routes, and what stands in front of them.
//!
//! A request meets, in this order: the rule for its framing, the Host and Origin rules, the credential,
//! then its route; on the endpoint its content type, its body, its era. Nothing is read or allocated for
//! a request before the checks in front of it have passed.
//!
//! One place guards every route, and `routes` lists which are public, so that a new route is guarded by
//! construction.

mod admission;
mod answer;
mod body;
mod challenge;
mod connection;
mod cors;
mod endpoint;
mod events;
mod forwarded;
mod headers;
mod legacy;
mod metadata;
mod modern;
mod monitor;
mod reply;
mod routes;
mod subscriptions;
mod task;

use std::convert::Infallible;
use std::sync::Arc;

use crate::app::App;
use crate::auth::Caller;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, Method};

pub use connection::{Connection, Cut, Delivery, Link};
pub use monitor::{Report, monitor};
pub use routes::{Guarded, Page, Public};

use admission::Admitted;

/// Who sends a request, and over which connection.
#[derive(Debug)]
struct Visitor {
    caller: Arc<Caller>,
    connection: Connection,
}

/// Answers a request of the endpoint, or one for the health of the server, behind the guards.
///
/// No router stands in between: each of its layers would box and move what waits for the answer.
///
/// # Errors
///
/// None: a server has an answer to everything, and hyper wants to be told so.
pub async fn serve(
    app: Arc<App>,
    mut connection: Connection,
    request: Request,
) -> Result<Response, Infallible> {
    let proxies = &app.options.trusted_proxies;
    if !proxies.is_empty() {
        connection.forwarded = forwarded::client(proxies, &connection, request.headers());
    }
    let framed = admission::check_framing(&app, &request);
    let page = cors::page(&app, &connection, &request);
    if framed.is_ok()
        && page.is_some()
        && let Some(response) = cors::preflight(&app, &request)
    {
        return Ok(shared(response, page));
    }
    let is_head = *request.method() == Method::HEAD;
    let admitted = match framed {
        Ok(()) => admission::admit(&app, &connection, &request),
        Err(refusal) => Err(refusal),
    };
    let response = match admitted {
        Ok(Admitted::Public(public)) => serve_public(public, &app, &request),
        Ok(Admitted::Caller(caller)) => route(app, Visitor { caller, connection }, request).await,
        Ok(Admitted::Stranger(presented)) => {
            let path = request.uri().path();
            let verified = Box::pin(admission::verify(&app, path, presented)).await;
            match verified {
                Ok(caller) => Box::pin(route(app, Visitor { caller, connection }, request)).await,
                Err(error) => {
                    let refusal = admission::unknown(&app, &connection, &request, error);
                    Box::pin(admission::unread(refusal, request)).await
                }
            }
        }
        Err(refusal) => Box::pin(admission::unread(refusal, request)).await,
    };
    let response = if is_head {
        reply::head(response)
    } else {
        response
    };
    Ok(shared(response, page))
}

/// Lets the page that asked read the response, if one did.
fn shared(response: Response, page: Option<HeaderValue>) -> Response {
    match page {
        Some(page) => cors::share(response, page),
        None => response,
    }
}

fn serve_public(public: Public, app: &App, request: &Request) -> Response {
    match public {
        Public::Healthz => reply::read_only(request, monitor::healthz),
        Public::Readyz => reply::read_only(request, || monitor::readyz(app)),
        Public::Metadata => metadata::serve(app, request),
    }
}

async fn route(app: Arc<App>, visitor: Visitor, request: Request) -> Response {
    match Guarded::at(&app.options.path, request.uri().path()) {
        Some(Guarded::Endpoint) => endpoint::serve(app, visitor, request).await,
        None => reply::not_found(),
    }
}
