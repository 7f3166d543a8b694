//! Binds, accepts, serves, and stops: the owner of every task.
//!
//! The accept loop is ours because `axum::serve` sets no timer, so that half a request header or
//! an idle connection would stay for ever, and because its graceful shutdown waits without limit
//! for an open event stream.

mod audit_metrics;
mod call_metrics;
mod certificate;
mod change_metrics;
mod connections;
mod credentials;
mod descriptors;
mod drain;
mod listener;
mod log_metrics;
mod output_metrics;
mod page;
mod reload;
mod session_metrics;
mod socket;
mod task_metrics;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Listeners, Options, Refusals, Throttle};
use crate::audit::{self, Audit};
use crate::auth;
use crate::catalog::{Catalog, Current};
use crate::changes::Changes;
use crate::cli::Eras;
use crate::config::{Config, Credentials, SessionMode};
use crate::execute::{self, Executor};
use crate::http::{self, Report};
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::protocol::version::{Era, Served};
use crate::reload::Definitions;
use crate::session::{EndReason, SessionStore, reaper};
use crate::shutdown::Event;
use crate::stdio::{self, Streams};
use crate::stream::Histories;
use crate::task::Tasks;
use crate::watch::Files;
use certificate::Renewal;
use connections::{Connections, Timeouts};
use drain::{drain, kill_processes};
use listener::Listener;
use reload::{Counts, Reloading};

/// The most connections at once to the listener for metrics, beside those of clients.
const MAX_MONITOR_CONNECTIONS: usize = 64;

/// How long connections may take to send what they still hold, after the calls are over.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every call that was taken was answered.
    Clean,
    /// A connection was cut before its answer was sent.
    Cut,
    /// A second signal of this number ended the drain.
    Forced(i32),
}

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    stdio: Option<Streams>,
    metrics_listener: Option<Listener>,
    debug_sessions: bool,
    stats_interval: Option<Duration>,
    app: Arc<App>,
    files: Files,
    definitions: Definitions,
    credentials: Credentials,
    reload_counts: Counts,
    renewal: Option<Renewal>,
    limits: descriptors::Limits,
    timeouts: Timeouts,
    drain_timeout: Duration,
}

impl Server {
    /// Binds every address, which the log names, or takes standard input and output. `catalog` was
    /// loaded from `definitions`, which are loaded again when they change.
    ///
    /// # Errors
    ///
    /// The address that could not be bound, and why.
    pub async fn bind(
        config: Config,
        definitions: Definitions,
        catalog: Catalog,
    ) -> anyhow::Result<Self> {
        let limits = descriptors::fit(config.max_connections, config.max_calls);
        let mut listeners = Vec::new();
        for address in &config.listen {
            let listener = Listener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address}"))?;
            listeners.push(listener);
        }
        let stdio = if config.stdio {
            Some(Streams::take().context("cannot take standard input and output")?)
        } else {
            None
        };
        let metrics_listener = match &config.metrics_listen {
            None => None,
            Some(address) => Some(
                Listener::bind(address)
                    .await
                    .with_context(|| format!("cannot listen on {address} for metrics"))?,
            ),
        };
        let sessions = match config.sessions {
            SessionMode::Stateless => None,
            SessionMode::Stateful(limits) => Some(SessionStore::new(limits)),
        };
        let mut metrics = Metrics::new();
        if let Some(sessions) = &sessions {
            session_metrics::register(&mut metrics, sessions);
        }
        let tasks = Tasks::new(config.tasks);
        task_metrics::register(&mut metrics, &tasks);
        let changes = Changes::default();
        let files = Files::new(reload::paths(&catalog));
        changes.watch_with(Box::new(files.clone()));
        change_metrics::register(&mut metrics, &changes, &files);
        let reload_counts = Counts::register(&mut metrics);
        credentials::register(&mut metrics);
        let renewal = (config.tls.clone()).map(|tls| Renewal::register(&mut metrics, tls));
        let executor = Executor::new(execute::Limits {
            max_calls: limits.calls,
            max_calls_per_principal: config.max_calls_per_principal,
            call_timeout: config.call_timeout,
            ask_timeout: config.ask_timeout,
        });
        output_metrics::register(&mut metrics, executor.outputs());
        call_metrics::register(&mut metrics, executor.load());
        log_metrics::register(&mut metrics);
        let audit = match &config.audit {
            None => None,
            Some(settings) => Some(open_audit(settings).await?),
        };
        if let Some(audit) = &audit {
            audit_metrics::register(&mut metrics, audit);
        }
        let app = App {
            catalog: Current::new(catalog),
            sessions,
            executor,
            audit,
            options: options(&config),
            seal: config.seal,
            authenticator: auth::Current::new(config.authenticator),
            metrics: Arc::new(metrics),
            refusals: Refusals::default(),
            strangers: Pace::default(),
            foreign: Pace::default(),
            misdirected: Pace::default(),
            throttle: Throttle::default(),
            draining: CancellationToken::new(),
            tasks,
            histories: Histories::default(),
            changes,
            listeners: Listeners::default(),
            unanswered: TaskTracker::new(),
        };
        Ok(Self {
            listeners,
            stdio,
            metrics_listener,
            debug_sessions: config.debug_sessions,
            stats_interval: config.stats_interval,
            app: Arc::new(app),
            files,
            definitions,
            credentials: config.credentials,
            reload_counts,
            renewal,
            limits,
            timeouts: Timeouts {
                keep_alive: config.keep_alive,
                tcp_user: config.tcp_user_timeout,
            },
            drain_timeout: config.drain_timeout,
        })
    }

    /// The bound addresses; a port 0 is the port that was taken.
    pub fn local_addresses(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves until the first [`Event::Stop`], then drains.
    ///
    /// While draining, running calls finish and get their answers, streams end, and new work is
    /// refused with 503. At the drain timeout the calls that still run are answered with an error
    /// and their processes ended. A second [`Event::Stop`] ends the drain at once.
    pub async fn serve(self, mut events: impl Stream<Item = Event> + Unpin) -> Stopped {
        let addresses = self.local_addresses();
        let tasks = TaskTracker::new();
        let closing = CancellationToken::new();
        let app = Arc::clone(&self.app);
        let connections = Connections::new(
            move |connection, request| http::serve(Arc::clone(&app), connection, request),
            self.timeouts,
            self.limits.connections,
            self.app.draining.clone(),
        )
        .encrypted(self.renewal.as_ref().map(Renewal::tls));
        // It goes on answering while the server drains.
        let app = Arc::clone(&self.app);
        let monitor = Connections::new(
            move |connection, request| {
                http::monitor(Arc::clone(&app), self.debug_sessions, connection, request)
            },
            self.timeouts,
            self.limits.monitor,
            closing.clone(),
        );
        if let Some(listener) = self.metrics_listener {
            tracing::info!(address = listener.address(), "metrics");
            tasks.spawn(monitor.clone().accept(listener, closing.clone()));
        }
        let scheme = if self.renewal.is_some() {
            "https"
        } else {
            "http"
        };
        name_addresses(&self.app, scheme, addresses);
        // Cancelled when the one client is gone for whom all this is.
        let left = CancellationToken::new();
        if let Some(streams) = self.stdio {
            tracing::info!("serving standard input and output");
            let app = Arc::clone(&self.app);
            connections
                .tasks
                .spawn(stdio::serve(app, streams, left.clone()));
        }
        for listener in self.listeners {
            tasks.spawn(connections.clone().accept(listener, closing.clone()));
        }
        tend(&self.app, self.stats_interval, &tasks, &closing);
        let changes = self.app.changes.clone();
        tasks.spawn(self.files.clone().run(changes, closing.clone()));
        let reloading = Reloading {
            app: Arc::clone(&self.app),
            files: self.files,
            counts: self.reload_counts,
            definitions: self.definitions,
            credentials: self.credentials,
        };
        let (reload, asked) = watch::channel(());
        tasks.spawn(reloading.run(asked.clone(), closing.clone()));
        if let Some(renewal) = self.renewal {
            tasks.spawn(renewal.run(asked, closing.clone()));
        }

        tokio::select! {
            _ = wait_for_stop(&mut events, &self.app, &reload) => {}
            () = left.cancelled() => tracing::info!("the client has left"),
        }
        let drained = tokio::select! {
            cut = drain(&self.app, &connections.tasks, self.drain_timeout) => {
                if cut == 0 { Stopped::Clean } else { Stopped::Cut }
            }
            signal = wait_for_stop(&mut events, &self.app, &reload) => {
                tracing::warn!("second signal: every call is killed");
                kill_processes(&self.app).await;
                Stopped::Forced(signal)
            }
        };
        closing.cancel();
        tasks.close();
        if tokio::time::timeout(FLUSH_TIMEOUT, tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some work behind the scenes does not end");
        }
        if let Some(sessions) = &self.app.sessions {
            sessions.end_all(EndReason::Shutdown);
        }
        if let Some(audit) = &self.app.audit {
            audit.close().await;
        }
        self.app.executor.outputs().clear();
        report(&self.app, "final session statistics");
        monitor.tasks.close();
        if tokio::time::timeout(FLUSH_TIMEOUT, monitor.tasks.wait())
            .await
            .is_err()
        {
            tracing::debug!("some readers of metrics did not take their answer");
        }
        drained
    }
}

async fn open_audit(settings: &audit::Settings) -> anyhow::Result<Arc<Audit>> {
    let opened = Audit::open(settings).await;
    opened.with_context(|| settings.label())
}

/// Starts what keeps in order what requests and calls leave behind, until `closing`.
fn tend(
    app: &Arc<App>,
    stats_interval: Option<Duration>,
    tasks: &TaskTracker,
    closing: &CancellationToken,
) {
    tasks.spawn({
        let (app, closing) = (Arc::clone(app), closing.clone());
        async move {
            tokio::join!(
                app.histories.keep_young(closing.clone()),
                app.tasks.keep_young(closing.clone()),
                app.executor.outputs().keep_young(closing.clone()),
                app.executor.keep_order(closing),
            );
        }
    });
    credentials::tend(app, tasks, closing);
    let Some(sessions) = &app.sessions else {
        return;
    };
    tasks.spawn(reaper::run(Arc::clone(sessions), closing.clone()));
    if let Some(interval) = stats_interval {
        let sessions = Arc::clone(sessions);
        tasks.spawn(summarize(sessions, interval, closing.clone()));
    }
}

/// Says in the log where clients connect.
fn name_addresses(app: &App, scheme: &str, addresses: Vec<String>) {
    for address in addresses {
        let path = &app.options.path;
        if address.starts_with("unix:") {
            tracing::info!(%address, path, "listening");
        } else {
            tracing::info!(url = format!("{scheme}://{address}{path}"), %address, "listening");
        }
    }
}

/// How requests are answered.
fn options(config: &Config) -> Options {
    Options {
        path: config.path.as_str().to_owned(),
        public_url: config.public_url.clone(),
        allowed_hosts: config.allowed_hosts.clone(),
        allowed_origins: config.allowed_origins.clone(),
        credential_headers: config.credential_headers.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        served: match config.eras {
            Eras::Both => Served::Both,
            Eras::Legacy => Served::Only(Era::Legacy),
            Eras::Modern => Served::Only(Era::Modern),
        },
        lenient_sessions: config.lenient_sessions,
        // Standard output takes every message, and knows no other answers.
        json_response: config.streams.json_response && !config.stdio,
        heartbeat: config.streams.heartbeat,
        stream_max_age: config.streams.stream_max_age,
        stream_retry: config.streams.stream_retry,
        stream_buffer: config.streams.stream_buffer,
        resume_buffer: config.streams.resume_buffer,
        ask_timeout: config.ask_timeout,
        max_body: config.max_body,
        page_size: config.page_size,
    }
}

/// Waits for the signal to stop. Writes statistics meanwhile when asked, and asks for a `reload`.
async fn wait_for_stop(
    events: &mut (impl Stream<Item = Event> + Unpin),
    app: &App,
    reload: &watch::Sender<()>,
) -> i32 {
    loop {
        match events.next().await {
            Some(Event::Stop(signal)) => return signal,
            Some(Event::Report) => report(app, "session statistics"),
            Some(Event::Reload) => {
                if let Some(audit) = &app.audit {
                    audit.reopen();
                }
                reload.send_replace(());
            }
            // Nobody can stop the server any more, which is what a test may want.
            None => std::future::pending().await,
        }
    }
}

/// Writes everything that is known of the sessions as a whole to the log.
fn report(app: &App, what: &'static str) {
    match serde_json::to_string(&Report::new(app)) {
        Ok(statistics) => tracing::info!(statistics, "{what}"),
        Err(error) => tracing::error!(%error, "the statistics could not be encoded"),
    }
}

/// Writes a line about the sessions to the log every `interval`, until `closing`.
async fn summarize(sessions: Arc<SessionStore>, interval: Duration, closing: CancellationToken) {
    while tokio::time::timeout(interval, closing.cancelled())
        .await
        .is_err()
    {
        let now = sessions.statistics();
        tracing::info!(
            sessions = now.active_sessions,
            busy = now.sessions.get("busy"),
            streaming = now.sessions.get("streaming"),
            created = now.total_sessions_created,
            ended = now.sessions_ended.total(),
            rejected = now.sessions_rejected.total(),
            lookups_failed = now.lookups_failed.total(),
            longest_idle_seconds = now.longest_idle,
            "session summary"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::environment::Variables;

    #[test]
    fn the_defaults_are_those_of_the_command_line() {
        let parsed = cli::parse(["mcp-serve".into()]).unwrap();
        let config = Config::new(parsed, &Variables::default()).unwrap();
        assert_eq!(options(&config), Options::default());
    }
}
