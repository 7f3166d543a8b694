//! What is no YAML, and what its author may have meant.

use granit_parser::{ErrorKind, ScanError};

use super::{Source, offset, too_deep};
use crate::document::diagnostic::{Code, Problem, Span};

/// Describes the place where the parser gave up.
pub(super) fn problem(error: &ScanError, source: &Source) -> Problem {
    let start = offset(error.marker(), source);
    let width = (source.text)
        .get(start - source.base..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    let place = Span {
        start,
        end: start + width,
    };
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return too_deep(place);
    }
    Problem::error(Code::Unreadable, place, error.info()).maybe_help(correction(error.kind()))
}

/// What to do about the slips that people make most often.
fn correction(kind: &ErrorKind) -> Option<String> {
    let text = match kind {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => "indent with spaces, here and in the lines after",
        ErrorKind::MappingValueNotAllowed => {
            "quote a text that holds a colon and a space; if there is none, mend the indentation"
        }
        ErrorKind::UnknownAnchor => {
            "name a value with `&` first, or quote a text that starts with `*`"
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "quote the whole text, in quotes of the other kind"
        }
        ErrorKind::DirectiveDisallowed => "remove the `%` line: files are YAML 1.2",
        ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => {
            "quote a text that starts with `{`, `[`, `\"` or `'`; inside `{…}` or `[…]`, also one that \
             contains a bracket or a comma, such as a template"
        }
        ErrorKind::ExpectedBlockMappingKey => {
            "indent this line as the keys above it; quote a text that starts with `{`, `[`, `\"` or `'`"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
