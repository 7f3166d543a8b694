//! Why there is no response, in words for the model: nothing in them is an address, a URL or a
//! secret.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use super::breaker::Refused;
use super::resolver::Unresolved;

/// Why there is no response, or only a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The circuit is open for so long still.
    Refused(Duration),
    /// There is no connection.
    Unreached(&'static str),
    /// The definition does not allow the address.
    Forbidden,
    /// It took longer than the API may take until its response begins.
    Silent(Duration),
    /// The time of the call was over before the response began.
    NoTime,
    /// The time of the call was over in the middle of the response.
    Slow,
    /// The connection was closed before the response began.
    Closed,
    /// The response is no HTTP.
    Invalid,
    /// The body ends too early, or cannot be decoded.
    Broken,
    /// No connection can be made at all.
    Unable,
    /// There is no token.
    NoToken(Box<Self>),
    /// The answer to the request for a token is of no use.
    UselessToken(String),
}

impl Failure {
    /// What the model is told. `time` is what the call had.
    pub(super) fn text(&self, api: &str, time: Duration) -> String {
        match self {
            Self::Refused(left) => {
                let seconds = left.as_secs().max(1);
                format!(
                    "{api} could not be reached several times in a row and was not tried again; \
                     try in {seconds} s"
                )
            }
            Self::Unreached(reason) => format!("could not connect to {api}: {reason}"),
            Self::Forbidden => format!(
                "could not connect to {api}: its name leads to an address that the definition \
                 does not allow"
            ),
            Self::Silent(time) => format!("{api} did not answer within {}", humanly(*time)),
            Self::NoTime => {
                let limit = humanly(time);
                format!("{api} did not answer within the time limit of {limit}")
            }
            Self::Slow => {
                let limit = humanly(time);
                format!("the response of {api} was not complete within the time limit of {limit}")
            }
            Self::Closed => format!("{api} closed the connection before it answered"),
            Self::Invalid => format!("the response of {api} is not valid HTTP"),
            Self::Broken => format!("the response of {api} ended too early or cannot be decoded"),
            Self::Unable => format!(
                "no request can be sent to {api}: its certificates cannot be used; the log of the \
                 server says why"
            ),
            Self::NoToken(failure) => {
                let failure = failure.text("the token server", time);
                format!("there is no token for {api}: {failure}")
            }
            Self::UselessToken(reason) => format!("there is no token for {api}: {reason}"),
        }
    }

    /// A few words for the log.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "circuit open",
            Self::Unreached(_) => "not connected",
            Self::Forbidden => "forbidden address",
            Self::Silent(_) => "no response",
            Self::NoTime | Self::Slow => "timeout",
            Self::Closed => "connection closed",
            Self::Invalid | Self::Broken => "broken response",
            Self::Unable => "could not be sent",
            Self::NoToken(_) | Self::UselessToken(_) => "no token",
        }
    }

    /// Whether the API is down, so that the next call will most likely fail too.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Unreached(_) | Self::Silent(_) | Self::NoTime => true,
            Self::NoToken(failure) => failure.is_outage(),
            _ => false,
        }
    }
}

fn humanly(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

impl From<Refused> for Failure {
    fn from(Refused(left): Refused) -> Self {
        Self::Refused(left)
    }
}

impl From<&reqwest::Error> for Failure {
    fn from(error: &reqwest::Error) -> Self {
        if let Some(unresolved) = cause(error) {
            return match unresolved {
                Unresolved::Forbidden(_) => Self::Forbidden,
                Unresolved::TooLong => Self::Unreached("the look-up of its name took too long"),
                Unresolved::Failed(_) | Unresolved::Empty => {
                    Self::Unreached("its name cannot be resolved")
                }
            };
        }
        if let Some(error) = cause::<rustls::Error>(error) {
            return Self::Unreached(of_encryption(error));
        }
        if error.is_connect() {
            return Self::Unreached(of_connection(error));
        }
        if error.is_body() || error.is_decode() {
            return Self::Broken;
        }
        if is_closed(error) {
            return Self::Closed;
        }
        Self::Invalid
    }
}

/// Whether the connection was closed before a response.
fn is_closed(error: &reqwest::Error) -> bool {
    let is_incomplete = cause::<hyper::Error>(error)
        .is_some_and(|error| error.is_incomplete_message() || error.is_canceled());
    let is_closed = cause::<io::Error>(error).is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
                // The other side does not even confirm that it got the request.
                | io::ErrorKind::TimedOut
        )
    });
    is_incomplete || is_closed
}

fn of_connection(error: &reqwest::Error) -> &'static str {
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            "there is no route to it"
        }
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {
            "the connection was closed at once"
        }
        _ if error.is_timeout() => "it did not accept the connection in time",
        _ => "the log of the server says why",
    }
}

fn of_encryption(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(reason) = error else {
        return "no encrypted connection could be agreed on";
    };
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        CertificateError::UnknownIssuer => "its certificate is from an issuer that is not trusted",
        CertificateError::Revoked => "its certificate was revoked",
        _ => "its certificate is not valid",
    }
}

/// The first cause of this type.
fn cause<T: Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let io = error.downcast_ref::<io::Error>();
        next = match io.and_then(io::Error::get_ref) {
            // Such an error names the source of what it wraps as its own.
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
