//! What the lines say. The number and the time of each come before, when it gets its place.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::auth::{Identity, Principal};
use crate::cli::AuditArguments;
use crate::logging;
use crate::protocol::canonical;
use crate::protocol::mcp::Method;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::secret::SecretDigest;

/// The longest name of what is called, in bytes: a client chooses it.
const MAX_NAME: usize = 256;

/// The most that is shown of arguments, in bytes.
const MAX_ARGUMENTS: usize = 8 * 1024;

/// What is known of a call when it begins.
#[derive(Debug, Clone)]
pub struct About<'a> {
    /// Its number, which its program has as `MCP_REQUEST_ID`.
    pub call: u64,
    /// The request.
    pub method: Method,
    /// What is called or read, as the client names it; `None` if it names nothing.
    pub name: Option<&'a str>,
    /// The toolset at whose endpoint it came; `None` for that of all.
    pub toolset: Option<&'a str>,
    /// Who calls.
    pub caller: &'a Principal,
    /// The address that the call comes from, where there is one.
    pub client: Option<IpAddr>,
    /// What tells the session from others, as in the log.
    pub session: Option<String>,
    /// The version of the protocol.
    pub version: ProtocolVersion,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It gave what was asked for.
    Ok,
    /// It failed.
    Error,
    /// The client has to answer something first, and call again.
    InputRequired,
    /// What was asked cannot be asked like that.
    Invalid,
    /// There is something of this name, which the caller may not use.
    Denied,
    /// There is nothing of this name.
    NotFound,
    /// There is too much to do, or it cannot be written down.
    Refused,
    /// Its time was over.
    Timeout,
    /// Somebody ended it.
    Cancelled,
    /// Something of the server's own went wrong.
    Lost,
    /// The server was killed before it ended.
    Unknown,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::InputRequired => "input_required",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

impl About<'_> {
    /// The members of the lines of the call that both have.
    pub(super) fn members(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            call: u64,
            method: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            toolset: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            issuer: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            subject: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tenant: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            client: Option<IpAddr>,
            #[serde(skip_serializing_if = "Option::is_none")]
            session: Option<&'a str>,
            era: &'static str,
            protocol: &'static str,
        }
        let identity = self.caller.identity();
        members(&Members {
            call: self.call,
            method: self.method.as_str(),
            name: self.name.map(|name| shown(name.to_owned(), MAX_NAME)),
            toolset: self.toolset,
            issuer: identity.map(|identity| identity.issuer.as_str()),
            subject: identity.map(|identity| identity.subject.as_str()),
            tenant: identity.and_then(|identity: &Identity| identity.tenant.as_deref()),
            client: self.client.map(|address| address.to_canonical()),
            session: self.session.as_deref(),
            era: match self.version.era() {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            },
            protocol: self.version.as_str(),
        })
    }
}

/// A name for this run, at random.
pub(super) fn run_id() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

/// The member that says something of arguments; nothing if nothing is to be said.
pub(super) fn arguments(form: AuditArguments, arguments: &Map<String, Value>) -> String {
    let canonical = || {
        let mut text = String::new();
        canonical::write_object(&mut text, arguments);
        text
    };
    let member = match form {
        AuditArguments::None => return String::new(),
        AuditArguments::Digest => {
            let digest = SecretDigest::of(canonical().as_bytes());
            json!({"arguments_sha256": digest.to_hex()})
        }
        AuditArguments::Redacted => json!({"arguments": shown(canonical(), MAX_ARGUMENTS)}),
    };
    format!(",{}", members(&member))
}

/// A client's text without the secrets that are known, and not too long.
fn shown(mut text: String, most: usize) -> String {
    logging::clean(&mut text);
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
    text
}

pub(super) fn start(run: &str, about: &str, arguments: &str) -> String {
    format!(r#""run":"{run}","event":"start",{about}{arguments}"#)
}

pub(super) fn end(
    run: &str,
    about: &str,
    (ending, reason): (Ending, Option<&str>),
    took: Duration,
) -> String {
    #[derive(Serialize)]
    struct End<'a> {
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        duration_seconds: f64,
    }
    let end = members(&End {
        outcome: ending.as_str(),
        reason,
        duration_seconds: took.as_secs_f64(),
    });
    format!(r#""run":"{run}","event":"end",{about},{end}"#)
}

/// The end of a call of which nothing but its first line is there. It has the run of that line.
pub(super) fn unknown_end(mut start: Map<String, Value>) -> String {
    for name in ["seq", "time", "arguments", "arguments_sha256"] {
        start.shift_remove(name);
    }
    start.insert("event".to_owned(), "end".into());
    start.insert("outcome".to_owned(), Ending::Unknown.as_str().into());
    start.insert("reason".to_owned(), "the server was killed".into());
    members(&start)
}

/// The file is written from here on.
pub(super) fn opened(run: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(r#""run":"{run}","event":"open","version":"{version}""#)
}

/// The server has ended.
pub(super) fn closed(run: &str) -> String {
    format!(r#""run":"{run}","event":"close""#)
}

/// Here so many lines are missing.
pub(super) fn lost(run: &str, records: u64) -> String {
    format!(r#""run":"{run}","event":"lost","records":{records}"#)
}

/// The members of an object as JSON, which a terminal may show: what is no printable character is
/// escaped.
fn members(object: &impl Serialize) -> String {
    let json = serde_json::to_string(object).unwrap_or_default();
    let inner = json
        .strip_prefix('{')
        .and_then(|json| json.strip_suffix('}'));
    let inner = inner.unwrap_or_default();
    let is_odd = |c: char| c >= '\u{7f}' && c.escape_debug().len() > 1;
    if !inner.contains(is_odd) {
        return inner.to_owned();
    }
    let mut printable = String::with_capacity(inner.len());
    for character in inner.chars() {
        if is_odd(character) {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units).iter();
            printable.extend(units.map(|unit| format!("\\u{unit:04x}")));
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Issuer;

    fn parsed(line: &str) -> Value {
        assert!(
            !line.contains(|c: char| c.is_control() || c == '\u{2028}'),
            "{line:?}"
        );
        serde_json::from_str(&format!("{{{line}}}")).unwrap()
    }

    fn about<'a>(name: &'a str, caller: &'a Principal) -> About<'a> {
        About {
            call: 7,
            method: Method::CallTool,
            name: Some(name),
            toolset: Some("ops"),
            caller,
            client: Some("::ffff:192.0.2.1".parse().unwrap()),
            session: Some("0123abcd".to_owned()),
            version: ProtocolVersion::V2025_11_25,
        }
    }

    #[test]
    fn a_line_says_who_calls_what_from_where() {
        let caller = Principal::user(Issuer::AuthFile, "ann", Some("acme".to_owned()));
        let members = about("deploy", &caller).members();
        let said = parsed(&start("r", &members, ""));
        let expected = json!({
            "run": "r", "event": "start", "call": 7, "method": "tools/call", "name": "deploy",
            "toolset": "ops", "issuer": "auth_file", "subject": "ann", "tenant": "acme",
            "client": "192.0.2.1", "session": "0123abcd", "era": "legacy", "protocol": "2025-11-25",
        });
        assert_eq!(said, expected);
        let took = Duration::from_millis(1500);
        let said = parsed(&end(
            "r",
            &members,
            (Ending::Timeout, Some("timeout")),
            took,
        ));
        let mut expected = expected;
        expected["event"] = "end".into();
        expected["outcome"] = "timeout".into();
        expected["reason"] = "timeout".into();
        expected["duration_seconds"] = 1.5.into();
        assert_eq!(said, expected);
    }

    #[test]
    fn whoever_is_nobody_is_not_named() {
        let nobody = About {
            name: None,
            toolset: None,
            client: None,
            session: None,
            ..about("", &Principal::Anonymous)
        };
        assert_eq!(
            parsed(&nobody.members()),
            json!({"call": 7, "method": "tools/call", "era": "legacy", "protocol": "2025-11-25"})
        );
    }

    #[test]
    fn no_text_of_a_client_breaks_a_line_or_fills_a_disk() {
        let hostile = "a\nb\u{1b}[31m\u{9b}\u{2028}\u{202e}\u{85}\0\"}é😀\u{e0041}";
        let said = parsed(&about(hostile, &Principal::Anonymous).members());
        assert_eq!(said["name"], hostile);
        let long = "x".repeat(10 << 20);
        let said = about(&long, &Principal::Anonymous).members();
        assert!(said.len() < 2 * MAX_NAME, "{}", said.len());
        let said = parsed(&said);
        assert_eq!(said["name"], format!("{}…", "x".repeat(MAX_NAME)));
        let many = json!({"a": "\u{1}".repeat(10 << 20)});
        let said = arguments(AuditArguments::Redacted, many.as_object().unwrap());
        assert!(said.len() < 12 * MAX_ARGUMENTS, "{}", said.len());
        let said = parsed(said.strip_prefix(',').unwrap());
        assert!(said["arguments"].as_str().unwrap().ends_with('…'));
    }

    #[test]
    fn arguments_are_digested_shown_or_left_out() {
        let given = json!({"b": 1, "a": {"d": [], "c": "x"}});
        let say = |form| arguments(form, given.as_object().unwrap());
        // printf %s '{"a":{"c":"x","d":[]},"b":1}' | sha256sum
        let digest = "5eda025605933421d560ed63f1509d35b430d2f36a67d2870e7db6aefeeec414";
        let cases = [
            (AuditArguments::None, String::new()),
            (
                AuditArguments::Digest,
                format!(r#","arguments_sha256":"{digest}""#),
            ),
            (
                AuditArguments::Redacted,
                r#","arguments":"{\"a\":{\"c\":\"x\",\"d\":[]},\"b\":1}""#.to_owned(),
            ),
        ];
        for (form, expected) in cases {
            assert_eq!(say(form), expected);
        }
    }

    #[test]
    fn what_a_killed_server_left_gets_an_end() {
        let line = json!({
            "seq": 3, "time": "t", "run": "old", "event": "start", "call": 9, "name": "deploy",
            "arguments_sha256": "x",
        });
        let said = parsed(&unknown_end(line.as_object().unwrap().clone()));
        assert_eq!(
            said,
            json!({
                "run": "old", "event": "end", "call": 9, "name": "deploy", "outcome": "unknown",
                "reason": "the server was killed",
            })
        );
    }
}
