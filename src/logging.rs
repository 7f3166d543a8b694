//! The log: text or JSON lines on standard error.

mod sink;
mod stderr;

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::{Log, LogFormat, LogLevel};
use crate::redact::Redactor;
use sink::Sink;

pub(crate) use sink::GATHER;
pub use sink::{Flush, lost};
pub(crate) use stderr::Stderr;

/// The field whose text is JSON already.
const STATISTICS: &str = "statistics";

/// What is kept out of the log, as long as some definition in use has it.
static SECRETS: RwLock<Vec<Weak<Redactor>>> = RwLock::new(Vec::new());

/// Keeps these secrets out of the log until the last call that has them is over.
pub fn hide(secrets: &Arc<Redactor>) {
    if secrets.is_empty() {
        return;
    }
    let mut all = SECRETS.write();
    all.retain(|secrets| secrets.strong_count() > 0);
    all.push(Arc::downgrade(secrets));
}

/// Takes out of a text what is kept out of the log.
pub fn clean(text: &mut String) {
    for secrets in secrets() {
        secrets.clean(text);
    }
}

fn secrets() -> Vec<Arc<Redactor>> {
    SECRETS.read().iter().filter_map(Weak::upgrade).collect()
}

/// Writes lines without secrets. Each write is a line as a whole.
struct Discreet<W>(W);

impl<W: Write> Write for Discreet<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let secrets = secrets();
        if secrets.is_empty() {
            self.0.write_all(line)?;
            return Ok(line.len());
        }
        let mut text = String::from_utf8_lossy(line).into_owned();
        for secrets in secrets {
            secrets.clean(&mut text);
        }
        self.0.write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Starts the log, in color on a terminal unless that is not wanted. Called once; a second call
/// changes nothing. Lines that standard error does not take are lost, and counted.
///
/// # Errors
///
/// The operating system's, when there can be no thread that writes.
pub fn start(options: &Log, allows_color: bool) -> io::Result<Flush> {
    let (sink, flush) = Sink::start(Stderr)?;
    let level = match options.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_writer(move || Discreet(sink.clone()));
    let started = match options.log_format {
        LogFormat::Text => builder
            .with_ansi(allows_color && io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => builder.event_format(JsonLines).try_init(),
    };
    if started.is_err() {
        tracing::debug!("the log was started already");
    }
    Ok(flush)
}

/// One JSON object per event: `timestamp`, `level`, then its fields.
///
/// That of `tracing-subscriber` can write text, numbers and booleans only; here statistics are an
/// object within the line. There are no spans.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = Line(Map::new());
        line.insert("timestamp", timestamp.into());
        line.insert("level", event.metadata().level().as_str().into());
        event.record(&mut line);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

struct Line(Map<String, Value>);

impl Line {
    fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let parsed = (field.name() == STATISTICS)
            .then(|| serde_json::from_str(value).ok())
            .flatten();
        self.insert(field.name(), parsed.unwrap_or_else(|| value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_no_secrets_while_something_has_them() {
        let line = |text: &str| {
            let mut writer = Discreet(Vec::new());
            assert_eq!(writer.write(text.as_bytes()).unwrap(), text.len());
            String::from_utf8(writer.0).unwrap()
        };
        let old = Arc::new(Redactor::new(["old-secret"]).unwrap());
        let new = Arc::new(Redactor::new(["new \"secret\""]).unwrap());
        hide(&old);
        hide(&new);
        let said = r#"{"a":"old-secret","b":"new \"secret\""}"#;
        assert_eq!(line(said), r#"{"a":"***","b":"***"}"#);
        drop(old);
        assert_eq!(line("old-secret"), "old-secret");
    }

    #[test]
    fn a_line_is_one_object_and_statistics_are_an_object_in_it() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(JsonLines)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(
                statistics = r#"{"sessions":{"idle":1}}"#,
                other = r#"{"a":1}"#,
                text = "a \"quoted\"\nline",
                debug = ?Some(1),
                count = 3_usize,
                age = 0.5,
                yes = true,
                "said {}", "so"
            );
        });
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.starts_with(r#"{"timestamp":"2"#), "{text}");
        let mut line: Value = serde_json::from_str(&text).unwrap();
        line.as_object_mut().unwrap().remove("timestamp");
        let expected = json!({
            "level": "INFO",
            "message": "said so",
            "statistics": {"sessions": {"idle": 1}},
            "other": "{\"a\":1}",
            "text": "a \"quoted\"\nline",
            "debug": "Some(1)",
            "count": 3,
            "age": 0.5,
            "yes": true,
        });
        assert_eq!(line, expected);
    }
}
