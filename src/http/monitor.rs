//! What an operator looks at: health, metrics, sessions.
//!
//! `/healthz` and `/readyz` are on every listener. The rest is on a listener of its own, without a
//! credential: whoever may connect there may read. A web page may not, so the rules for Host and
//! Origin hold there as on the endpoint.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{any, get};
use http::{Method, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use super::{Connection, admission, reply};
use crate::app::App;
use crate::metrics::CONTENT_TYPE;
use crate::session::list::{MAX_PAGE, SessionSummary, Sort};
use crate::session::statistics::Statistics;
use crate::task;

/// How many sessions a page has unless the query says so.
const PAGE: usize = 50;

/// The routes of the listener for metrics. `/debug/sessions` is there if `show_sessions`.
pub fn monitor(app: Arc<App>, show_sessions: bool) -> Router {
    let mut router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || healthz()))
        .route(
            "/readyz",
            get(async |State(app): State<Arc<App>>| readyz(&app)),
        );
    if show_sessions {
        router = router.route("/debug/sessions", any(sessions));
    }
    router
        .fallback(async || not_found())
        .layer(middleware::from_fn_with_state(
            Arc::clone(&app),
            admission::admit_reader,
        ))
        .with_state(app)
}

/// The process lives.
pub(super) fn healthz() -> Response {
    reply::text(StatusCode::OK, "ok\n")
}

/// The server takes new work.
pub(super) fn readyz(app: &App) -> Response {
    if app.draining.is_cancelled() {
        reply::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else if app.refusals.go_on(Instant::now()) && is_full(app) {
        reply::text(StatusCode::SERVICE_UNAVAILABLE, "full\n")
    } else if !app.authenticator.load().is_ready() {
        reply::text(StatusCode::SERVICE_UNAVAILABLE, "no keys\n")
    } else if app.audit.as_ref().is_some_and(|audit| audit.refuses()) {
        reply::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the audit log cannot be written\n",
        )
    } else {
        reply::text(StatusCode::OK, "ready\n")
    }
}

fn is_full(app: &App) -> bool {
    app.sessions.as_ref().is_some_and(|sessions| {
        let now = sessions.statistics();
        now.active_sessions >= now.max_active_sessions
    })
}

pub(super) fn not_found() -> Response {
    reply::text(StatusCode::NOT_FOUND, "not found\n")
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    reply::response(StatusCode::OK, CONTENT_TYPE, app.metrics.encode())
}

/// What is known of the sessions as a whole. Durations are in seconds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Legacy clients are served without sessions.
    pub stateless: bool,
    /// Tool calls that run.
    pub calls_in_flight: usize,
    /// Calls that are tasks.
    pub tasks: task::Statistics,
    /// The counts; none without sessions.
    #[serde(flatten)]
    pub statistics: Option<Statistics>,
}

impl Report {
    /// What is known now.
    pub fn new(app: &App) -> Self {
        let sessions = app.sessions.as_ref();
        Self {
            stateless: sessions.is_none(),
            calls_in_flight: app.executor.in_flight(),
            tasks: app.tasks.statistics(),
            statistics: sessions.map(|sessions| sessions.statistics()),
        }
    }
}

#[derive(Serialize)]
struct Sessions {
    #[serde(flatten)]
    report: Report,
    page: Page,
}

#[derive(Serialize)]
struct Page {
    sort: &'static str,
    offset: usize,
    limit: usize,
    sessions: Vec<SessionSummary>,
}

/// For clients on this machine only; for others it does not exist.
async fn sessions(State(app): State<Arc<App>>, request: Request) -> Response {
    let connection = request.extensions().get::<Connection>();
    if !connection.is_some_and(Connection::is_local) {
        return not_found();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply::method_not_allowed(request.headers(), "GET,HEAD");
    }
    let query = match request.uri().query().unwrap_or_default().parse() {
        Ok(query) => query,
        Err(BadQuery) => return reply::text(StatusCode::BAD_REQUEST, USAGE),
    };
    let Query {
        sort,
        offset,
        limit,
    } = query;
    let sessions = app.sessions.as_ref();
    let page = Page {
        sort: sort.as_str(),
        offset,
        limit,
        sessions: sessions.map_or_else(Vec::new, |store| store.list(sort, offset, limit)),
    };
    let report = Report::new(&app);
    match serde_json::to_vec(&Sessions { report, page }) {
        Ok(json) => reply::response(StatusCode::OK, "application/json", json),
        Err(error) => {
            tracing::error!(%error, "the list of sessions could not be encoded");
            reply::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
        }
    }
}

const USAGE: &str = "the query is ?sort=age|idle|requests|in_flight&offset=N&limit=1..1000\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Query {
    sort: Sort,
    offset: usize,
    limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BadQuery;

impl std::str::FromStr for Query {
    type Err = BadQuery;

    fn from_str(text: &str) -> Result<Self, BadQuery> {
        let mut query = Self {
            sort: Sort::Age,
            offset: 0,
            limit: PAGE,
        };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(BadQuery)?;
            match name {
                "sort" => {
                    let mut all = Sort::ALL.into_iter();
                    query.sort = all.find(|sort| sort.as_str() == value).ok_or(BadQuery)?;
                }
                "offset" => query.offset = value.parse().map_err(|_| BadQuery)?,
                "limit" => query.limit = value.parse().map_err(|_| BadQuery)?,
                _ => return Err(BadQuery),
            }
        }
        if (1..=MAX_PAGE).contains(&query.limit) {
            Ok(query)
        } else {
            Err(BadQuery)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_sessions() {
        let query = |sort, offset, limit| {
            Ok(Query {
                sort,
                offset,
                limit,
            })
        };
        let cases = [
            ("", query(Sort::Age, 0, 50)),
            ("sort=idle", query(Sort::Idle, 0, 50)),
            (
                "limit=1000&sort=requests&offset=5",
                query(Sort::Requests, 5, 1000),
            ),
            ("sort=in_flight&", query(Sort::InFlight, 0, 50)),
            ("sort=name", Err(BadQuery)),
            ("sort", Err(BadQuery)),
            ("limit=0", Err(BadQuery)),
            ("limit=1001", Err(BadQuery)),
            ("offset=-1", Err(BadQuery)),
            ("page=2", Err(BadQuery)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Query>(), expected, "{text}");
        }
        for sort in Sort::ALL {
            assert!(USAGE.contains(sort.as_str()), "{sort:?}");
        }
    }
}
