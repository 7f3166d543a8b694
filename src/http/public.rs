//! What is answered without a credential: the one list of it.

use axum::extract::Request;
use axum::response::Response;
use http::Method;

use super::{metadata, monitor, reply};
use crate::app::App;
use crate::host::WELL_KNOWN;

/// Something that everybody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Public<'a> {
    /// Whether the process lives.
    Healthz,
    /// Whether the server takes new work.
    Readyz,
    /// Where to get a token for an endpoint; with the path below that of all such documents.
    Metadata(&'a str),
}

impl<'a> Public<'a> {
    /// What is at a path, if everybody may ask it.
    pub(super) fn at(path: &'a str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Healthz),
            "/readyz" => Some(Self::Readyz),
            _ => {
                let below = path.strip_prefix(WELL_KNOWN)?;
                (below.is_empty() || below.starts_with('/')).then_some(Self::Metadata(below))
            }
        }
    }

    /// Whether it may be asked under any name: a probe knows an address at most.
    pub(super) fn is_health(self) -> bool {
        matches!(self, Self::Healthz | Self::Readyz)
    }

    /// Answers a request for it.
    pub(super) fn serve(self, app: &App, request: &Request) -> Response {
        match self {
            Self::Healthz => read_only(request, monitor::healthz),
            Self::Readyz => read_only(request, || monitor::readyz(app)),
            Self::Metadata(below) => match metadata::document(app, below) {
                Some(document) => read_only(request, || metadata::response(document)),
                None => monitor::not_found(),
            },
        }
    }
}

/// The answer to a request that only reads.
fn read_only(request: &Request, answer: impl FnOnce() -> Response) -> Response {
    match *request.method() {
        Method::GET | Method::HEAD => answer(),
        _ => reply::method_not_allowed(request.headers(), "GET,HEAD"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_paths_are_public() {
        let cases = [
            ("/healthz", Some(Public::Healthz)),
            ("/readyz", Some(Public::Readyz)),
            (
                "/.well-known/oauth-protected-resource",
                Some(Public::Metadata("")),
            ),
            (
                "/.well-known/oauth-protected-resource/mcp",
                Some(Public::Metadata("/mcp")),
            ),
            ("/.well-known/oauth-protected-resources", None),
            ("/.well-known/oauth-protected-resource.", None),
            ("/.well-known/", None),
            ("/healthz/", None),
            ("/mcp", None),
            ("/", None),
            ("", None),
            ("*", None),
        ];
        for (path, expected) in cases {
            assert_eq!(Public::at(path), expected, "{path}");
        }
    }
}
