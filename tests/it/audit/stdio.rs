//! The audit log of a server on standard input and output, which has no status to refuse with.

use serde_json::{Value, json};

use super::disk::{fill, limit};
use super::{check, of_event, read, wait_for_ends};
use crate::stdio::Served;
use crate::support::{ERAS, eventually};

/// Checks that a request was not served, since it could not be written down.
fn assert_refused(reply: &Value, id: u64) {
    let found = (&reply["id"], &reply["error"]["code"]);
    assert_eq!(found, (&json!(id), &json!(-32603)), "{reply}");
    let message = reply["error"]["message"].as_str().unwrap();
    assert!(message.contains("cannot keep its audit log"), "{reply}");
}

#[test]
fn nothing_is_served_while_it_cannot_be_written_down() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let path = log.to_str().unwrap();
        let options = [
            "--audit",
            path,
            "--audit-mode",
            "required",
            "--max-calls",
            "2",
        ];
        let mut served = Served::in_era(era, &options);
        let text = json!({"text": "x"});
        served.call(era, 1, "echo", &text);
        assert!(served.next()["result"].is_object(), "{era:?}");
        served.call(era, 2, "gate", &json!({"name": "running"}));
        served.group("running");

        fill(served.pid(), &log);
        let calls = [
            ("echo", &text),
            ("nothing", &text),
            ("echo", &json!({"text": 1})),
        ];
        for (id, (tool, arguments)) in (3..).zip(calls) {
            served.call(era, id, tool, arguments);
            assert_refused(&served.next(), id);
        }
        served.request(era, 6, "resources/read", &json!({"uri": "x://nothing"}));
        assert_refused(&served.next(), 6);
        served.request(era, 7, "tools/list", &json!({}));
        assert!(
            served.next()["result"].is_object(),
            "it is not written down"
        );
        // What runs goes on, and is answered.
        served.open("running");
        assert_eq!(served.next()["id"], 2, "{era:?}");

        limit(served.pid(), None);
        let works = eventually(|| {
            served.call(era, 8, "echo", &text);
            served.next()["result"].is_object().then_some(())
        });
        assert!(works.is_some(), "{era:?}");
        served.end_of_input();
        assert!(served.wait().success(), "{era:?}");
        let records = read(&log);
        check(&records);
        assert_eq!(records.last().unwrap()["event"], "close");
        let refused = |end: &&&Value| end["reason"] == "refused: no audit log";
        let ends = of_event(&records, "end");
        assert!(ends.iter().filter(refused).count() >= 1, "{ends:#?}");
        let told = of_event(&records, "lost");
        assert!(!told.is_empty(), "{records:#?}");
    }
}

#[test]
fn what_was_taken_before_the_end_is_answered_when_it_is_written_down() {
    for era in ERAS {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let path = log.to_str().unwrap();
        let mut served = Served::in_era(era, &["--audit", path, "--audit-mode", "required"]);
        for id in 1..=50 {
            served.call(era, id, "nothing", &json!({}));
        }
        served.end_of_input();
        for id in 1..=50 {
            let reply = served.next();
            assert_eq!(reply["id"], id, "{reply}");
        }
        assert!(served.wait().success(), "{era:?}");
        check(&wait_for_ends(&log, 50));
    }
}
