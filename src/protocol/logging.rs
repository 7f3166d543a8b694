//! Logging: what is said to a client for people to read, and how severe that is. The same in every
//! revision that is served.

use serde::Serialize;
use serde_json::{Map, Value};

use super::jsonrpc::{self, ErrorObject};

/// How severe a message is, as syslog (RFC 5424) has it; the more severe is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Level {
    /// For those who debug.
    Debug,
    /// What happens.
    Info,
    /// What happens and matters.
    Notice,
    /// What may become an error.
    Warning,
    /// What failed.
    Error,
    /// A part does not work any more.
    Critical,
    /// Somebody has to act at once.
    Alert,
    /// Nothing works any more.
    Emergency,
}

/// A message for a client's log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogMessage {
    /// How severe it is.
    pub level: Level,
    /// What says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logger: Option<String>,
    /// What is said: any JSON value.
    pub data: Value,
}

impl Level {
    /// From the least severe to the most.
    const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// What a legacy session hears until it asks for something else.
    pub const DEFAULT: Self = Self::Info;

    /// Reads the name of a level; case matters.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }

    /// Returns the level of this number, as `as u8` makes it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Returns the name of the level.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }

    /// Reads a member of an object that must be a level.
    ///
    /// # Errors
    ///
    /// `-32602` for what is no level, or is not there.
    pub fn read(object: &Map<String, Value>, key: &str) -> Result<Self, ErrorObject> {
        let name = object.get(key).and_then(Value::as_str);
        name.and_then(Self::parse).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            ErrorObject::invalid_params(format!("Invalid params: {key:?} must be one of {names}"))
        })
    }
}

impl LogMessage {
    /// Encodes `notifications/message` as one line of compact JSON.
    pub fn notification(&self) -> Vec<u8> {
        jsonrpc::encode_notification("notifications/message", self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn levels_are_ordered_as_syslog_has_them() {
        let names = [
            "debug",
            "info",
            "notice",
            "warning",
            "error",
            "critical",
            "alert",
            "emergency",
        ];
        let levels = names.map(|name| Level::parse(name).unwrap());
        assert!(levels.is_sorted_by(|a, b| a < b));
        for (number, level) in (0..).zip(levels) {
            assert_eq!(level as u8, number);
            assert_eq!(Level::from_number(number), Some(level));
            assert_eq!(json!(level), level.as_str());
        }
        assert_eq!(Level::from_number(8), None);
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for params in [
            json!({}),
            json!({"level": null}),
            json!({"level": 3}),
            json!({"level": ""}),
            json!({"level": "INFO"}),
            json!({"level": "warn"}),
            json!({"level": "info "}),
        ] {
            let error = Level::read(params.as_object().unwrap(), "level").unwrap_err();
            assert_eq!(error.code, jsonrpc::INVALID_PARAMS, "{params}");
            assert!(error.message.contains("debug, info, "), "{}", error.message);
        }
    }

    #[test]
    fn a_message_is_one_line_and_says_what_it_was_told() {
        let cases = [
            (
                LogMessage {
                    level: Level::Warning,
                    logger: Some("backup".to_owned()),
                    data: json!("two\nlines"),
                },
                r#"{"level":"warning","logger":"backup","data":"two\nlines"}"#,
            ),
            (
                LogMessage {
                    level: Level::Debug,
                    logger: None,
                    data: Value::Null,
                },
                r#"{"level":"debug","data":null}"#,
            ),
        ];
        for (message, params) in cases {
            assert_eq!(
                String::from_utf8(message.notification()).unwrap(),
                format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{params}}}"#
                )
            );
        }
    }
}
