//! Lists in pages.
//!
//! A cursor is a position and the fingerprint of the list that it belongs to, so that one server
//! can go on where another began, and nothing is kept for a client that never comes back.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Context;
use super::visible::Visible;
use crate::catalog::{Fingerprint, Guarded};
use crate::protocol::jsonrpc::{ErrorObject, Request};

/// The bytes of a position in a cursor.
const POSITION_BYTES: usize = size_of::<u32>();

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<'a, T> {
    /// What it shows, in the order of the list.
    pub(super) items: Vec<&'a Arc<T>>,
    /// Where the next page starts; `None` on the last one.
    pub(super) next_cursor: Option<String>,
}

/// Cuts the page that a request asks for out of what its caller may see. A cursor counts only that,
/// so that it tells nothing of what is hidden.
///
/// # Errors
///
/// `-32602` for a cursor that was not handed out for this list.
pub(super) fn page<'a, T: Guarded>(
    context: &Context<'_>,
    request: &Request,
    list: &Visible<'a, T>,
) -> Result<Page<'a, T>, ErrorObject> {
    let fingerprint = || list.fingerprint();
    let start = start(request, fingerprint)?;
    Ok(cut(list.iter(), start, context.page_size, fingerprint))
}

fn cut<'a, T>(
    items: impl Iterator<Item = &'a Arc<T>>,
    start: usize,
    size: usize,
    fingerprint: impl FnOnce() -> Fingerprint,
) -> Page<'a, T> {
    let mut rest = items.enumerate().skip(start);
    let items = rest.by_ref().take(size).map(|(_, item)| item).collect();
    let next = rest.next().and_then(|(at, _)| u32::try_from(at).ok());
    Page {
        items,
        next_cursor: next.map(|at| cursor(at, fingerprint())),
    }
}

/// The position that a request starts at.
fn start(
    request: &Request,
    fingerprint: impl FnOnce() -> Fingerprint,
) -> Result<usize, ErrorObject> {
    let text = match request.params.get("cursor") {
        None | Some(Value::Null) => return Ok(0),
        Some(Value::String(text)) => text,
        Some(_) => {
            return Err(ErrorObject::invalid_params(
                "Invalid params: \"cursor\" must be a string",
            ));
        }
    };
    position(text, fingerprint()).ok_or_else(|| {
        ErrorObject::invalid_params(
            "Invalid params: unknown cursor; ask for the list without one, it may have changed",
        )
    })
}

fn cursor(position: u32, fingerprint: Fingerprint) -> String {
    let mut bytes = position.to_be_bytes().to_vec();
    bytes.extend(fingerprint);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn position(cursor: &str, fingerprint: Fingerprint) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (position, list) = bytes.split_first_chunk::<POSITION_BYTES>()?;
    let position = u32::from_be_bytes(*position);
    (list == fingerprint).then_some(position as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::List;
    use crate::protocol::jsonrpc::{Body, Message, parse};

    fn list(kind: &'static str, keys: &[&str]) -> List<String> {
        let items = keys.iter().map(|key| Arc::new((*key).to_owned()));
        List::new(kind, items.collect(), String::as_str)
    }

    fn request(cursor: &Value) -> Request {
        let params = json!({"cursor": cursor});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params});
        match parse(body.to_string().as_bytes()) {
            Ok(Body::Message(Message::Request(request))) => request,
            other => panic!("{other:?}"),
        }
    }

    fn fingerprint(list: &List<String>) -> Fingerprint {
        list.fingerprint(list.iter())
    }

    /// The pages of a list, each as its items in one text.
    fn pages(list: &List<String>, size: usize) -> Vec<String> {
        let mut pages = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let start = start(&request(&cursor), || fingerprint(list)).unwrap();
            let page = cut(list.iter(), start, size, || fingerprint(list));
            pages.push(page.items.iter().map(|item| item.as_str()).collect());
            match page.next_cursor {
                Some(next) => cursor = Value::String(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn every_item_is_on_one_page() {
        let all = list("tools", &["a", "b", "c", "d", "e"]);
        let cases: [(&str, usize, &[&str]); 4] = [
            ("one each", 1, &["a", "b", "c", "d", "e"]),
            ("two each", 2, &["ab", "cd", "e"]),
            ("an even end", 5, &["abcde"]),
            ("more than there are", 9, &["abcde"]),
        ];
        for (name, size, expected) in cases {
            assert_eq!(pages(&all, size), expected, "{name}");
        }
        assert_eq!(pages(&list("tools", &[]), 2), [""]);
    }

    #[test]
    fn a_cursor_is_for_the_list_that_it_came_from() {
        let all = list("tools", &["a", "b", "c"]);
        let cursor = cursor(1, fingerprint(&all));
        let cases = [
            ("its own", json!(cursor), true),
            ("none", json!(null), true),
            (
                "of another list",
                json!(super::cursor(
                    1,
                    fingerprint(&list("prompts", &["a", "b", "c"]))
                )),
                false,
            ),
            (
                "of another file",
                json!(super::cursor(1, fingerprint(&list("tools", &["a", "b"])))),
                false,
            ),
            ("empty", json!(""), false),
            ("too short", json!(&cursor[1..]), false),
            ("too long", json!(format!("{cursor}AAAA")), false),
            ("padded", json!(format!("{cursor}=")), false),
            ("no Base64", json!("one two"), false),
            ("a number", json!(1), false),
            ("an object", json!({}), false),
        ];
        for (name, cursor, known) in cases {
            let start = start(&request(&cursor), || fingerprint(&all));
            let code = start.err().map(|error| error.code);
            assert_eq!(code, (!known).then_some(-32602), "{name}");
        }
    }
}
