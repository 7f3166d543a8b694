//! What an operator looks at: health, metrics, sessions.
//!
//! `/healthz` and `/readyz` are on every listener. The rest is on a listener of its own, without a
//! credential: whoever may connect there may read. A web page may not, so the rules for Host and
//! Origin hold there as on the endpoint.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{Method, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use super::routes::Page;
use super::{Connection, admission, reply};
use crate::app::App;
use crate::metrics::CONTENT_TYPE;
use crate::session::list::{MAX_PAGE, SessionSummary, Sort};
use crate::session::statistics::Statistics;
use crate::task;

/// How many sessions a page has unless the query says so.
const PAGE: usize = 50;

/// Answers a request to the listener for metrics. The list of sessions is there if `shows_sessions`.
///
/// # Errors
///
/// None, as [`super::serve`].
pub async fn monitor(
    app: Arc<App>,
    shows_sessions: bool,
    connection: Connection,
    request: Request,
) -> Result<Response, Infallible> {
    let is_shown = |page: &Page| match page {
        Page::Healthz | Page::Readyz | Page::Metrics => true,
        // For clients on this machine only; for others it does not exist.
        Page::Sessions => shows_sessions && connection.is_local(),
    };
    let page = Page::at(request.uri().path()).filter(is_shown);
    let is_head = *request.method() == Method::HEAD;
    let response = match admission::admit_operator(&app, &connection, &request, page) {
        Ok(()) => serve(&app, page, &request),
        Err(refusal) => admission::unread(refusal, request).await,
    };
    Ok(if is_head {
        reply::head(response)
    } else {
        response
    })
}

fn serve(app: &App, page: Option<Page>, request: &Request) -> Response {
    let Some(page) = page else {
        return reply::not_found();
    };
    reply::read_only(request, || match page {
        Page::Healthz => healthz(),
        Page::Readyz => readyz(app),
        Page::Metrics => reply::response(StatusCode::OK, CONTENT_TYPE, app.metrics.encode()),
        Page::Sessions => sessions(app, request.uri().query().unwrap_or_default()),
    })
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
    page: Listed,
}

#[derive(Serialize)]
struct Listed {
    sort: &'static str,
    offset: usize,
    limit: usize,
    sessions: Vec<SessionSummary>,
}

fn sessions(app: &App, query: &str) -> Response {
    let Ok(Query {
        sort,
        offset,
        limit,
    }) = query.parse()
    else {
        return reply::text(StatusCode::BAD_REQUEST, USAGE);
    };
    let sessions = app.sessions.as_ref();
    let page = Listed {
        sort: sort.as_str(),
        offset,
        limit,
        sessions: sessions.map_or_else(Vec::new, |store| store.list(sort, offset, limit)),
    };
    let report = Report::new(app);
    reply::document(&Sessions { report, page })
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
