//! What the process counts, and its text for a scraper.
//!
//! Names, labels and values of labels are fixed here: nothing that a client says becomes a label.
//! What the session store counts is not kept a second time; whoever knows the store registers a
//! collector that reads it at each scrape ([`Metrics::registry`]).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{
    EncodeLabel as _, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder, text,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The beginning of our own names. Those of OpenTelemetry have none.
pub const PREFIX: &str = "mcp_serve";

/// Upper bounds of the buckets for durations of operations, in seconds: those of the OpenTelemetry
/// conventions for MCP.
pub const OPERATION_BUCKETS: [f64; 14] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// The label of everything outside a closed set.
pub const OTHER: &str = "other";

/// Declares an enum whose variants are the values of a label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The value of the label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                self.as_str().encode(encoder)
            }
        }
    };
}

label! {
    /// What an event stream answers.
    StreamKind {
        /// The GET of a session.
        Get = "get",
        /// The POST of a call.
        Post = "post",
        /// The `subscriptions/listen` of a client without a session.
        Listen = "listen",
    }
}

label! {
    /// Why an event stream ended.
    StreamEnd {
        /// The client left.
        Client = "client",
        /// The session's client opened another stream.
        Takeover = "takeover",
        /// It was open for as long as a stream may be.
        MaxAge = "max_age",
        /// The client did not read.
        Slow = "slow",
        /// The connection could not be written to.
        WriteError = "write_error",
        /// The session ended.
        SessionEnd = "session_end",
        /// The server stopped.
        Shutdown = "shutdown",
        /// The reply was sent.
        Complete = "complete",
        /// The tool let the client go, which comes back for the reply.
        Closed = "closed",
        /// The credential ended.
        Revoked = "revoked",
        /// It was opened without a credential, and the session belongs to somebody by now.
        Claimed = "claimed",
    }
}

label! {
    /// A message that may be dropped when a client does not keep up.
    MessageKind {
        /// `notifications/progress`.
        Progress = "progress",
        /// `notifications/message`.
        Log = "log",
        /// `notifications/tools/list_changed`, and those of prompts and resources.
        ListChanged = "list_changed",
        /// `notifications/resources/updated`.
        ResourceUpdated = "resource_updated",
    }
}

label! {
    /// Whether a request belongs to a session.
    RequestEra {
        /// It does.
        Session = "session",
        /// It stands alone: a modern one, or a legacy one without sessions.
        Stateless = "stateless",
    }
}

label! {
    /// Why a request was not let in.
    AuthFailure {
        /// It has no credential.
        Missing = "missing",
        /// Its credential is malformed or unknown.
        Invalid = "invalid",
        /// Its credential has ended.
        Expired = "expired",
        /// Its credential does not allow this.
        Scope = "scope",
        /// Nobody could say whether its credential is good.
        Unavailable = "unavailable",
        /// Its client had too many that are not good.
        Throttled = "throttled",
    }
}

/// Why an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The tool ran and says that it failed.
    Tool,
    /// The reply is a JSON-RPC error with this code.
    JsonRpc(i32),
}

impl EncodeLabelValue for ErrorType {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Tool => "tool_error".encode(encoder),
            Self::JsonRpc(code) => code.encode(encoder),
        }
    }
}

/// The labels of an operation. Those that do not apply are left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Operation {
    method: &'static str,
    tool: Option<Box<str>>,
    error_type: Option<ErrorType>,
    protocol: &'static str,
}

impl EncodeLabelSet for Operation {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("method", self.method).encode(encoder.encode_label())?;
        if let Some(tool) = &self.tool {
            ("tool", &**tool).encode(encoder.encode_label())?;
        }
        if let Some(error_type) = self.error_type {
            ("error_type", error_type).encode(encoder.encode_label())?;
        }
        ("protocol", self.protocol).encode(encoder.encode_label())
    }
}

type Label<T> = [(&'static str, T); 1];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Closed {
    kind: StreamKind,
    reason: StreamEnd,
}

impl EncodeLabelSet for Closed {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("kind", self.kind).encode(encoder.encode_label())?;
        ("reason", self.reason).encode(encoder.encode_label())
    }
}

/// Everything that is counted while serving.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    operations: Family<Operation, Histogram>,
    requests: Family<Label<RequestEra>, Gauge>,
    /// Those of `requests`, which each request counts in: to look for one takes a hash and a lock.
    requests_in_sessions: Gauge,
    requests_alone: Gauge,
    streams: Family<Label<StreamKind>, Gauge>,
    closed: Family<Closed, Counter>,
    dropped: Family<Label<MessageKind>, Counter>,
    buffered: Gauge,
    duplicate_request_ids: Counter,
    missing_session_ids: Counter,
    auth_failures: Family<Label<AuthFailure>, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All counts at zero. A label with a closed set of values shows each from the start.
    pub fn new() -> Self {
        let requests = Family::<Label<RequestEra>, Gauge>::default();
        let of_era = |era| requests.get_or_create_owned(&[("era", era)]);
        let mut metrics = Self {
            registry: Registry::default(),
            requests_in_sessions: of_era(RequestEra::Session),
            requests_alone: of_era(RequestEra::Stateless),
            operations: Family::new_with_constructor(|| Histogram::new(OPERATION_BUCKETS)),
            requests,
            streams: Family::default(),
            closed: Family::default(),
            dropped: Family::default(),
            buffered: Gauge::default(),
            duplicate_request_ids: Counter::default(),
            missing_session_ids: Counter::default(),
            auth_failures: Family::default(),
        };
        metrics.fill();
        metrics.register();
        metrics
    }

    /// Makes every series that has a closed set of labels.
    fn fill(&self) {
        for kind in StreamKind::ALL {
            drop(self.streams.get_or_create(&[("kind", *kind)]));
            for reason in StreamEnd::ALL {
                let (kind, reason) = (*kind, *reason);
                drop(self.closed.get_or_create(&Closed { kind, reason }));
            }
        }
        for kind in MessageKind::ALL {
            drop(self.dropped.get_or_create(&[("kind", *kind)]));
        }
        for reason in AuthFailure::ALL {
            drop(self.auth_failures.get_or_create(&[("reason", *reason)]));
        }
    }

    fn register(&mut self) {
        self.registry.register_with_unit(
            "mcp_server_operation_duration",
            "Time from a request or notification to the end of its answer",
            Unit::Seconds,
            self.operations.clone(),
        );
        let ours = self.registry.sub_registry_with_prefix(PREFIX);
        ours.register(
            "requests_in_flight",
            "Requests that are being served",
            self.requests.clone(),
        );
        ours.register("streams", "Open event streams", self.streams.clone());
        ours.register(
            "stream_closed",
            "Event streams that ended, by reason",
            self.closed.clone(),
        );
        ours.register(
            "stream_dropped_messages",
            "Messages dropped because a client did not keep up",
            self.dropped.clone(),
        );
        ours.register_with_unit(
            "stream_buffered",
            "Messages that wait for slow readers",
            Unit::Bytes,
            self.buffered.clone(),
        );
        ours.register(
            "duplicate_request_ids",
            "Requests whose id was that of another one in flight in the same session",
            self.duplicate_request_ids.clone(),
        );
        ours.register(
            "missing_session_id",
            "Requests of legacy clients that named no session",
            self.missing_session_ids.clone(),
        );
        ours.register(
            "auth_failures",
            "Requests that were not let in, by reason",
            self.auth_failures.clone(),
        );
    }

    /// Where to register what somebody else counts. Names of our own begin with [`PREFIX`].
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Notes that an event stream was opened.
    pub fn stream_opened(self: &Arc<Self>, kind: StreamKind) -> OpenStream {
        self.streams.get_or_create(&[("kind", kind)]).inc();
        OpenStream {
            metrics: Arc::clone(self),
            kind,
            end: StreamEnd::Client,
        }
    }

    /// Counts a message that a slow client does not get.
    pub fn message_dropped(&self, kind: MessageKind) {
        self.dropped.get_or_create(&[("kind", kind)]).inc();
    }

    /// Notes that the messages which wait for slow readers became more, or less.
    pub fn buffered_bytes(&self, delta: i64) {
        self.buffered.inc_by(delta);
    }

    /// Notes that a request is being served.
    pub fn request_started(&self, era: RequestEra) -> RequestInFlight {
        let requests = match era {
            RequestEra::Session => &self.requests_in_sessions,
            RequestEra::Stateless => &self.requests_alone,
        };
        requests.inc();
        RequestInFlight(requests.clone())
    }

    /// Records an operation: a request or notification, and how it ended.
    ///
    /// A `method` that MCP does not have becomes [`OTHER`]. `tool` must be the name of a tool that
    /// is served, or [`OTHER`]; `protocol` a revision that is served.
    pub fn operation(
        &self,
        method: &'static str,
        tool: Option<&str>,
        error_type: Option<ErrorType>,
        protocol: &'static str,
        duration: Duration,
    ) {
        let operation = Operation {
            method,
            tool: tool.map(Into::into),
            error_type,
            protocol,
        };
        self.operations
            .get_or_create(&operation)
            .observe(duration.as_secs_f64());
    }

    /// Counts a request whose id is in use in its session.
    pub fn duplicate_request_id(&self) {
        self.duplicate_request_ids.inc();
    }

    /// Counts a request of a legacy client that names no session.
    pub fn missing_session_id(&self) {
        self.missing_session_ids.inc();
    }

    /// Counts a request that was not let in.
    pub fn auth_failure(&self, reason: AuthFailure) {
        self.auth_failures
            .get_or_create(&[("reason", reason)])
            .inc();
    }

    /// Everything, in the text format of OpenMetrics; see [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut page = String::new();
        if text::encode(&mut page, &self.registry).is_err() {
            // Without its last line the text is refused, so that half of it is not taken for all.
            tracing::error!("the metrics could not be encoded");
        }
        page
    }
}

/// An event stream that is open. Dropped, it counts as left by its client.
#[derive(Debug)]
#[must_use]
pub struct OpenStream {
    metrics: Arc<Metrics>,
    kind: StreamKind,
    end: StreamEnd,
}

impl OpenStream {
    /// Notes why it ended.
    pub fn end(mut self, end: StreamEnd) {
        self.end = end;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let (kind, reason) = (self.kind, self.end);
        let streams = &self.metrics.streams;
        streams.get_or_create(&[("kind", kind)]).dec();
        let closed = &self.metrics.closed;
        closed.get_or_create(&Closed { kind, reason }).inc();
    }
}

/// A request that is being served, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct RequestInFlight(Gauge);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Checks the text as OpenMetrics asks for, and returns its samples by name and labels.
    fn parse(page: &str) -> HashMap<String, f64> {
        let mut families: HashMap<&str, (&str, bool)> = HashMap::new();
        let mut samples = HashMap::new();
        let mut helped = "";
        let mut current = "";
        let (body, end) = page.split_at(page.len() - "# EOF\n".len());
        assert_eq!(end, "# EOF\n");
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                helped = rest.split_once(' ').unwrap().0;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, helped, "HELP before TYPE");
                let before = families.insert(name, (kind, false));
                assert_eq!(before, None, "{name} is there twice");
                current = name;
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').unwrap();
                assert!(name.ends_with(&format!("_{unit}")), "{line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let (kind, seen) = families.get_mut(current).unwrap();
                let suffixes: &[&str] = match *kind {
                    "counter" => &["_total"],
                    "gauge" => &[""],
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => panic!("{line}"),
                };
                let suffix = name
                    .strip_prefix(current)
                    .unwrap_or_else(|| panic!("{line}"));
                assert!(suffixes.contains(&suffix), "{line}");
                *seen = true;
                let before = samples.insert(series.to_owned(), value.parse().unwrap());
                assert_eq!(before, None, "{series} is there twice");
            }
        }
        for (name, (_, seen)) in families {
            assert!(seen, "{name} has no sample");
        }
        samples
    }

    #[test]
    fn everything_is_there_from_the_start_and_is_zero() {
        let samples = parse(&Metrics::new().encode());
        let expected = [
            "mcp_serve_requests_in_flight{era=\"session\"}",
            "mcp_serve_requests_in_flight{era=\"stateless\"}",
            "mcp_serve_streams{kind=\"get\"}",
            "mcp_serve_stream_closed_total{kind=\"post\",reason=\"max_age\"}",
            "mcp_serve_stream_dropped_messages_total{kind=\"list_changed\"}",
            "mcp_serve_stream_buffered_bytes",
            "mcp_serve_duplicate_request_ids_total",
            "mcp_serve_missing_session_id_total",
            "mcp_serve_auth_failures_total{reason=\"scope\"}",
        ];
        for series in expected {
            assert_eq!(samples.get(series), Some(&0.0), "{series}: {samples:#?}");
        }
        assert!(samples.values().all(|value| *value == 0.0));
    }

    #[test]
    fn guards_count_in_and_out() {
        let metrics = Arc::new(Metrics::new());
        let left = metrics.stream_opened(StreamKind::Get);
        let slow = metrics.stream_opened(StreamKind::Get);
        let _open = metrics.stream_opened(StreamKind::Get);
        let request = metrics.request_started(RequestEra::Session);
        let _another = metrics.request_started(RequestEra::Session);
        drop((left, request));
        slow.end(StreamEnd::Slow);
        metrics.buffered_bytes(100);
        metrics.buffered_bytes(-40);
        metrics.message_dropped(MessageKind::Progress);
        metrics.auth_failure(AuthFailure::Missing);
        metrics.duplicate_request_id();
        metrics.missing_session_id();
        let samples = parse(&metrics.encode());
        let expected = [
            ("streams{kind=\"get\"}", 1.0),
            ("stream_closed_total{kind=\"get\",reason=\"client\"}", 1.0),
            ("stream_closed_total{kind=\"get\",reason=\"slow\"}", 1.0),
            ("stream_closed_total{kind=\"post\",reason=\"slow\"}", 0.0),
            ("requests_in_flight{era=\"session\"}", 1.0),
            ("stream_buffered_bytes", 60.0),
            ("stream_dropped_messages_total{kind=\"progress\"}", 1.0),
            ("auth_failures_total{reason=\"missing\"}", 1.0),
            ("duplicate_request_ids_total", 1.0),
            ("missing_session_id_total", 1.0),
        ];
        for (series, value) in expected {
            let series = format!("mcp_serve_{series}");
            assert_eq!(samples.get(&series), Some(&value), "{series}");
        }
    }

    #[test]
    fn an_operation_has_the_labels_that_apply() {
        let metrics = Metrics::new();
        let second = Duration::from_secs(1);
        metrics.operation("tools/call", Some("disk"), None, "2025-11-25", second);
        let failed = Some(ErrorType::Tool);
        metrics.operation("tools/call", Some("disk"), failed, "2025-11-25", second);
        let unknown = Some(ErrorType::JsonRpc(-32601));
        metrics.operation(OTHER, None, unknown, "2026-07-28", second);
        let samples = parse(&metrics.encode());
        let expected = [
            (
                "method=\"tools/call\",tool=\"disk\",protocol=\"2025-11-25\"",
                1.0,
            ),
            (
                "method=\"tools/call\",tool=\"disk\",error_type=\"tool_error\",protocol=\"2025-11-25\"",
                1.0,
            ),
            (
                "method=\"other\",error_type=\"-32601\",protocol=\"2026-07-28\"",
                1.0,
            ),
        ];
        for (labels, count) in expected {
            let series = format!("mcp_server_operation_duration_seconds_count{{{labels}}}");
            assert_eq!(samples.get(&series), Some(&count), "{series}: {samples:#?}");
        }
    }
}
