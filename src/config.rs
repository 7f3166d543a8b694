//! The settings of a run: checked across flags, with the token file or auth file read.
//!
//! What a [`Config`] holds can be used as it is; nothing later checks it again.

mod audit_log;
mod credentials;
mod exposure;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::HeaderName;

use crate::audit;
use crate::auth::Authenticator;
use crate::cli::{
    Access, Cli, EndpointPath, Eras, ListenAddress, Network, OnSessionLimit, Parsed, Streams,
};
use crate::document::Diagnostic;
use crate::environment::Variables;
use crate::host::{Cidr, HostName, Origin, PublicUrl};
use crate::seal::{self, Seal};
use crate::secret::{self, Permissions, Secret};
use crate::session::store::{Limits, WhenFull};
use crate::task;
use crate::tls::Tls;

pub use credentials::Credentials;
pub(crate) use credentials::authenticator;
use exposure::{check_exposure, check_metrics, check_stdio};

/// Settings of the server.
#[derive(Debug)]
pub struct Config {
    /// The definitions file.
    pub tools: PathBuf,
    /// Serve standard input and output.
    pub stdio: bool,
    /// Where to listen; at least one address, but none for standard input and output.
    pub listen: Vec<ListenAddress>,
    /// Path of the MCP endpoint.
    pub path: EndpointPath,
    /// Who may call.
    pub authenticator: Authenticator,
    /// Where that was read, and can be read again.
    pub credentials: Credentials,
    /// What encrypts the connections over TCP.
    pub tls: Option<Tls>,
    /// The URL of the endpoint as clients know it.
    pub public_url: Option<PublicUrl>,
    /// Names allowed in the Host header, beside those that always are.
    pub allowed_hosts: Vec<HostName>,
    /// Origins allowed beside the server's own.
    pub allowed_origins: Vec<Origin>,
    /// Headers that may hold a token, beside `Authorization`.
    pub credential_headers: Vec<HeaderName>,
    /// Proxies whose word counts for where a request comes from.
    pub trusted_proxies: Vec<Cidr>,
    /// Protocol revisions to serve.
    pub eras: Eras,
    /// Whether legacy clients get sessions, and what bounds them.
    pub sessions: SessionMode,
    /// Serve a legacy request that names no session without one.
    pub lenient_sessions: bool,
    /// What bounds the tasks.
    pub tasks: task::Limits,
    /// How answers are streamed.
    pub streams: Streams,
    /// The largest request body in bytes.
    pub max_body: usize,
    /// The most items in one answer to a client that lists them.
    pub page_size: usize,
    /// The most connections at once.
    pub max_connections: usize,
    /// How long a connection may be without a request.
    pub keep_alive: Duration,
    /// How long a client may take nothing of what was sent to it.
    pub tcp_user_timeout: Duration,
    /// The most calls at once.
    pub max_calls: usize,
    /// The most calls of one principal at once; `None` is no bound.
    pub max_calls_per_principal: Option<NonZeroUsize>,
    /// How long a call may take by default.
    pub call_timeout: Duration,
    /// How long a client may take to answer what a call asks.
    pub ask_timeout: Duration,
    /// Closes what clients carry from one round of a call to the next.
    pub seal: Seal,
    /// How long a stopping server waits for calls.
    pub drain_timeout: Duration,
    /// Where to serve metrics.
    pub metrics_listen: Option<ListenAddress>,
    /// Serve the list of sessions beside the metrics.
    pub debug_sessions: bool,
    /// What the audit log is to be; `None` if there is none.
    pub audit: Option<audit::Settings>,
    /// How often a summary of the sessions is logged; `None` never.
    pub stats_interval: Option<Duration>,
    /// What the operator should know, to be logged once the log works.
    pub warnings: Vec<String>,
    /// What the author of the auth file should know, to be logged beside.
    pub auth_warnings: Vec<Diagnostic>,
}

/// Whether legacy clients get sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionMode {
    /// They do.
    Stateful(Limits),
    /// They do not.
    Stateless,
}

impl Config {
    /// Checks the command line as a whole and the place of the audit log, and reads the token file or
    /// auth file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, each with the option or file and what to do: an unusable token file,
    /// auth file or audit log, or an address beyond loopback that would be open to everybody or run
    /// tools as root. What is wrong inside an auth file is a [`LoadError`](crate::document::LoadError).
    pub fn new(parsed: Parsed, variables: &Variables) -> Result<Self, Vec<anyhow::Error>> {
        let mut warnings = Vec::new();
        let mut errors = Vec::new();
        check_stdio(&parsed).unwrap_or_else(|error| errors.push(error));
        let credentials = Credentials::new(&parsed.cli, variables);
        let loaded = credentials.and_then(|mut credentials| Ok((credentials.load()?, credentials)));
        let loaded = keep(loaded, &mut errors);
        let seal = keep(seal(&parsed.cli.access), &mut errors);
        let tls = keep(encryption(&parsed.cli), &mut errors);
        let is_root = rustix::process::geteuid().is_root();
        check_exposure(&parsed.cli, is_root, &mut warnings)
            .unwrap_or_else(|error| errors.push(error));
        let sessions = keep(session_mode(&parsed, &mut warnings), &mut errors);
        check_metrics(&parsed.cli.metrics, &mut warnings);
        let audit = keep(audit_log::settings(&parsed, &mut warnings), &mut errors);
        let (
            Some(((authenticator, auth_warnings), credentials)),
            Some(seal),
            Some(tls),
            Some(sessions),
            Some(audit),
            [],
        ) = (loaded, seal, tls, sessions, audit, errors.as_slice())
        else {
            return Err(errors);
        };
        let Cli {
            command: _,
            serve,
            mut access,
            network,
            sessions: session_options,
            tasks,
            streams,
            limits,
            metrics,
            log: _,
            audit: _,
        } = parsed.cli;
        if let Some(url) = &network.public_url {
            access.allowed_host.push(url.host().clone());
            access.allowed_origin.push(url.origin().clone());
        }
        Ok(Self {
            tools: serve.tools,
            stdio: serve.stdio,
            listen: if serve.stdio {
                Vec::new()
            } else {
                serve.listen
            },
            path: serve.path,
            authenticator,
            credentials,
            tls,
            public_url: network.public_url,
            allowed_hosts: access.allowed_host,
            allowed_origins: access.allowed_origin,
            credential_headers: access.credential_header,
            trusted_proxies: network.trusted_proxy,
            eras: serve.eras,
            sessions,
            lenient_sessions: session_options.lenient_sessions,
            tasks: task::Limits {
                max_tasks: tasks.max_tasks.get(),
                max_tasks_per_principal: NonZeroUsize::new(tasks.max_tasks_per_principal),
                keep: tasks.task_ttl,
                max_bytes: tasks.task_buffer,
                ask_timeout: limits.ask_timeout,
            },
            streams,
            max_body: limits.max_body,
            page_size: limits.page_size.into(),
            max_connections: limits.max_connections.get(),
            keep_alive: limits.keep_alive,
            tcp_user_timeout: limits.tcp_user_timeout,
            max_calls: limits.max_calls.get(),
            max_calls_per_principal: NonZeroUsize::new(limits.max_calls_per_principal),
            call_timeout: limits.call_timeout,
            ask_timeout: limits.ask_timeout,
            seal,
            drain_timeout: limits.drain_timeout,
            metrics_listen: metrics.metrics_listen,
            debug_sessions: metrics.debug_sessions,
            audit,
            stats_interval: metrics.stats_interval.duration(),
            warnings,
            auth_warnings,
        })
    }
}

/// The value of a step, or else its error beside the others.
fn keep<T>(step: anyhow::Result<T>, errors: &mut Vec<anyhow::Error>) -> Option<T> {
    step.map_err(|error| errors.push(error)).ok()
}

/// Whether the owner and mode of files are checked.
pub(crate) fn permissions(access: &Access) -> Permissions {
    if access.insecure_permissions {
        Permissions::Unchecked
    } else {
        Permissions::Checked
    }
}

fn seal(access: &Access) -> anyhow::Result<Seal> {
    let Some(path) = &access.state_key_file else {
        return Ok(Seal::random());
    };
    let option = "--state-key-file";
    let most = secret::MAX_SECRET_BYTES;
    let key = read_secret(option, path, permissions(access), most)?;
    Seal::parse(key.expose()).with_context(|| {
        format!(
            "{option} {}: it holds no key of {} bytes in Base64 or hexadecimal; make one with: \
             openssl rand -base64 {1}",
            path.display(),
            seal::KEY_BYTES
        )
    })
}

/// Reads the certificate and its key.
fn encryption(cli: &Cli) -> anyhow::Result<Option<Tls>> {
    let Network {
        tls_cert, tls_key, ..
    } = &cli.network;
    let (Some(certificate), Some(key)) = (tls_cert, tls_key) else {
        return Ok(None);
    };
    let permissions = permissions(&cli.access);
    Ok(Some(Tls::load(
        certificate.clone(),
        key.clone(),
        permissions,
    )?))
}

fn read_secret(
    option: &str,
    path: &Path,
    permissions: Permissions,
    most: u64,
) -> anyhow::Result<Secret> {
    secret::read_file(path, permissions, most)
        .with_context(|| format!("{option} {}", path.display()))
}

/// How long a client may take to open a stream again, beyond the time it was told to wait.
const RECONNECT: Duration = Duration::from_secs(1);

/// The one session of a client that starts the server: it lives as long as the server.
const ONE_SESSION: Limits = Limits {
    idle_timeout: None,
    unused_timeout: None,
    init_timeout: None,
    max_age: None,
    max_sessions: 1,
    max_sessions_per_principal: None,
    when_full: WhenFull::Reject,
};

fn session_mode(parsed: &Parsed, warnings: &mut Vec<String>) -> anyhow::Result<SessionMode> {
    let options = &parsed.cli.sessions;
    if parsed.cli.serve.stdio {
        return Ok(SessionMode::Stateful(ONE_SESSION));
    }
    if options.stateless {
        if parsed.settings.is_chosen("--session-idle-timeout") {
            warnings.push(
                "--session-idle-timeout is ignored: with --stateless there are no sessions"
                    .to_owned(),
            );
        }
        return Ok(SessionMode::Stateless);
    }
    let limits = Limits {
        idle_timeout: options.session_idle_timeout.duration(),
        unused_timeout: options.session_unused_timeout.duration(),
        init_timeout: options.session_init_timeout.duration(),
        max_age: options.session_max_age.duration(),
        max_sessions: options.max_sessions.get(),
        max_sessions_per_principal: NonZeroUsize::new(options.max_sessions_per_principal),
        when_full: match options.on_session_limit {
            OnSessionLimit::Evict => WhenFull::Evict {
                min_idle: options.session_evict_min_idle,
            },
            OnSessionLimit::Reject => WhenFull::Reject,
        },
    };
    let Some(idle) = limits.idle_timeout else {
        return Ok(SessionMode::Stateful(limits));
    };
    for (flag, shorter) in [
        ("--session-unused-timeout", limits.unused_timeout),
        ("--session-init-timeout", limits.init_timeout),
    ] {
        if let Some(shorter) = shorter.filter(|shorter| *shorter >= idle) {
            bail!(
                "{flag} {} would never take effect: it must be shorter than \
                 --session-idle-timeout {}",
                humantime::format_duration(shorter),
                humantime::format_duration(idle),
            );
        }
    }
    let retry = parsed.cli.streams.stream_retry;
    if idle <= retry + RECONNECT {
        warnings.push(format!(
            "--session-idle-timeout {} is so short that a session may end before its client has \
             opened a stream again: make it longer than --stream-retry {} and a second",
            humantime::format_duration(idle),
            humantime::format_duration(retry),
        ));
    }
    Ok(SessionMode::Stateful(limits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    pub(super) fn parsed(arguments: &[&str]) -> Parsed {
        cli::parse(["mcp-serve"].iter().chain(arguments).map(Into::into)).unwrap()
    }

    #[test]
    fn unfortunate_timeouts_are_worth_a_warning() {
        let cases: [(&[&str], usize); 6] = [
            (&["--stateless"], 0),
            (&["--stateless", "--session-idle-timeout=30m"], 1),
            (&["--session-idle-timeout=30m"], 0),
            (&["--session-idle-timeout=4s"], 1),
            (&["--session-idle-timeout=4s", "--stream-retry=1s"], 0),
            (&["--session-idle-timeout=none"], 0),
        ];
        for (arguments, expected) in cases {
            let mut warnings = Vec::new();
            session_mode(&parsed(arguments), &mut warnings).unwrap();
            assert_eq!(warnings.len(), expected, "{arguments:?}: {warnings:?}");
        }
    }

    #[test]
    fn a_timeout_that_could_not_take_effect_is_refused() {
        let cases: [&[&str]; 3] = [
            &["--session-unused-timeout=30m"],
            &["--session-init-timeout=1h"],
            &["--session-idle-timeout=10s", "--session-unused-timeout=10s"],
        ];
        for arguments in cases {
            let error = session_mode(&parsed(arguments), &mut Vec::new()).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains("shorter than --session-idle-timeout"),
                "{arguments:?}: {message}"
            );
        }
        let cases: [&[&str]; 2] = [
            &["--session-unused-timeout=10m", "--session-init-timeout=1m"],
            &[
                "--session-idle-timeout=none",
                "--session-unused-timeout=10h",
            ],
        ];
        for arguments in cases {
            assert!(session_mode(&parsed(arguments), &mut Vec::new()).is_ok());
        }
    }
}
