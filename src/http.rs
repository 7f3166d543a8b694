//! MCP over HTTP: the routes, and what stands in front of them.
//!
//! A request meets, in this order: the Host and Origin rules, the credential, then its route; on
//! the endpoint its content type, its body, its era. Nothing is read or allocated for a request
//! before the checks in front of it have passed.
//!
//! One layer guards every route, with an explicit list of public paths, so that a new route is
//! guarded by construction.

mod admission;
mod answer;
mod body;
mod connection;
mod endpoint;
mod events;
mod headers;
mod legacy;
mod modern;
mod monitor;
mod reply;
mod subscriptions;
mod task;

use std::sync::Arc;

use crate::app::App;
use axum::Router;
use axum::middleware;
use axum::routing::{any, get};

pub use connection::{Connection, Cut, Delivery, Link};
pub use monitor::{Report, monitor};

/// The routes, behind the guards. The caller adds a [`Connection`] to the extensions of each
/// request.
pub fn router(app: Arc<App>) -> Router {
    let endpoint = any(endpoint::serve);
    let path = app.options.path.as_str();
    Router::new()
        .route(path, endpoint.clone())
        .route(&format!("{path}/"), endpoint.clone())
        .route(&format!("{path}/{{toolset}}"), endpoint.clone())
        .route(&format!("{path}/{{toolset}}/"), endpoint)
        .route("/healthz", get(monitor::healthz))
        .route("/readyz", get(monitor::readyz))
        .fallback(monitor::not_found)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            admission::admit,
        ))
        .with_state(app)
}
