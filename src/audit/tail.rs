//! What the end of a file says of the servers that wrote it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde_json::{Map, Value};

/// How much of a file is looked at, in bytes from its end: some ten thousand lines. The end of a call
/// whose first line is further back is not missed.
const MAX_TAIL: u64 = 4 << 20;

/// How the first line of a file begins, and every other.
const BEGINNING: &[u8] = b"{\"seq\":";

/// What is known of earlier lines.
#[derive(Debug, PartialEq)]
pub(super) struct Past {
    /// The number of the next line.
    pub(super) next: u64,
    /// The first lines of calls that have no other.
    pub(super) orphans: Vec<Map<String, Value>>,
    /// The last line is not whole.
    pub(super) is_torn: bool,
}

/// Nothing was written before.
impl Default for Past {
    fn default() -> Self {
        Self {
            next: 1,
            orphans: Vec::new(),
            is_torn: false,
        }
    }
}

/// Reads the end of a file of this length; `None` if it is no audit log.
pub(super) fn read(file: &File, length: u64) -> io::Result<Option<Past>> {
    let start = length.saturating_sub(MAX_TAIL);
    let mut tail = vec![0; usize::try_from(length - start).unwrap_or_default()];
    file.read_exact_at(&mut tail, start)?;
    let is_whole = start == 0;
    Ok(past(&tail, is_whole))
}

/// What lines say, of which the first may be only a part.
fn past(tail: &[u8], is_whole: bool) -> Option<Past> {
    let lines = tail.split(|byte| *byte == b'\n');
    let mut lines = lines.skip(usize::from(!is_whole)).peekable();
    let mut past = Past {
        is_torn: tail.last().is_some_and(|byte| *byte != b'\n'),
        ..Past::default()
    };
    if !tail.is_empty() && !is_ours(lines.peek()?) {
        return None;
    }
    // In the order in which they began.
    let mut open = BTreeMap::new();
    let mut places = BTreeMap::new();
    for line in lines {
        let Ok(Value::Object(line)) = serde_json::from_slice(line) else {
            continue;
        };
        let Some(number) = line.get("seq").and_then(Value::as_u64) else {
            continue;
        };
        past.next = past.next.max(number.checked_add(1)?);
        let text = |name| line.get(name).and_then(Value::as_str);
        let call = line.get("call").and_then(Value::as_u64);
        let (Some(run), Some(call)) = (text("run"), call) else {
            continue;
        };
        let call = (run.to_owned(), call);
        match text("event") {
            Some("start") => {
                places.insert(call, number);
                open.insert(number, line);
            }
            Some("end") => {
                if let Some(place) = places.remove(&call) {
                    open.remove(&place);
                }
            }
            _ => {}
        }
    }
    past.orphans = open.into_values().collect();
    Some(past)
}

/// Whether a line can be one of an audit log, or the first part of one.
fn is_ours(line: &[u8]) -> bool {
    let length = line.len().min(BEGINNING.len());
    length > 0 && BEGINNING.get(..length) == line.get(..length)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(number: u64, run: &str, event: &str, call: u64) -> String {
        let line = json!({"seq": number, "run": run, "event": event, "call": call});
        format!("{line}\n")
    }

    fn orphans(past: &Past) -> Vec<u64> {
        let number = |line: &Map<String, Value>| line["seq"].as_u64().unwrap();
        past.orphans.iter().map(number).collect()
    }

    #[test]
    fn the_end_of_a_file_says_where_to_go_on_and_which_calls_have_no_end() {
        let opened = "{\"seq\":1,\"event\":\"open\",\"run\":\"a\"}\n".to_owned();
        let both = [line(2, "a", "start", 7), line(3, "a", "end", 7)].concat();
        let again = [line(4, "b", "start", 7), line(5, "b", "start", 8)].concat();
        let cases = [
            (String::new(), true, (1, vec![], false)),
            (opened.clone(), true, (2, vec![], false)),
            (format!("{opened}{both}"), true, (4, vec![], false)),
            (
                format!("{opened}{both}{again}"),
                true,
                (6, vec![4, 5], false),
            ),
            (
                format!("{both}{again}{}", line(6, "a", "end", 7)),
                true,
                (7, vec![4, 5], false),
            ),
            (format!("{opened}{{\"se"), true, (2, vec![], true)),
            (
                format!("{opened}{{\"se\n{again}"),
                true,
                (6, vec![4, 5], false),
            ),
            ("{\"seq\":".to_owned(), true, (1, vec![], true)),
            ("{\"s".to_owned(), true, (1, vec![], true)),
            (
                format!("half\":1}}\n{again}"),
                false,
                (6, vec![4, 5], false),
            ),
        ];
        for (text, is_whole, expected) in cases {
            let past = past(text.as_bytes(), is_whole).unwrap();
            let found = (past.next, orphans(&past), past.is_torn);
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_audit_log_stays_as_it_is() {
        for text in [
            "tools:\n",
            "\n",
            "{\"a\":1}\n",
            "{a",
            "root:x:0:0\n{\"seq\":1}\n",
            "{\"seq\":18446744073709551615}\n",
        ] {
            assert_eq!(past(text.as_bytes(), true), None, "{text}");
        }
        assert_eq!(past(b"a part of a long line", false), None);
    }

    #[test]
    fn only_the_end_of_a_long_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let mut text = line(1, "a", "start", 1);
        let filler = "x".repeat(1 << 20);
        for number in 2..8 {
            let line = json!({"seq": number, "filler": filler});
            text.extend([line.to_string(), "\n".to_owned()]);
        }
        text.push_str(&line(8, "a", "start", 8));
        std::fs::write(&path, &text).unwrap();
        let file = File::open(&path).unwrap();
        let past = read(&file, text.len() as u64).unwrap().unwrap();
        assert_eq!((past.next, orphans(&past)), (9, vec![8]));
    }
}
