//! More calls than there is room for: whose they are decides who waits, and who is told to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, GATE, Gate, Http, TestServer, eventually, initialize, sha256};

fn token(name: &str) -> String {
    format!("{name}-token-of-a-sufficient-length-0123456789")
}

/// An auth file with these users.
fn auth(names: &[&str]) -> String {
    let entries = names.iter().map(|name| {
        let digest = sha256(&token(name));
        format!("- {{sha256: {digest}, subject: {name}}}\n")
    });
    format!("tokens:\n{}", entries.collect::<String>())
}

#[test]
fn a_principal_at_its_limit_is_told_so_and_others_are_not() {
    let tools = format!("tools:{GATE}");
    let options = ["--max-calls-per-principal", "1", "--max-calls", "2"];
    let server = TestServer::with_auth(&tools, &auth(&["alice", "bob", "carol"]), &options);
    for era in ERAS {
        let client = |name: &str| Client::new(&server, era, Some(&token(name)));
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(client);
        let gate = |name: &str| Gate::new(&server, &format!("{era:?}-{name}"));
        let first = gate("first");
        let running = alice.start_call(1, "gate", &first.arguments());
        first.wait();

        let refused = alice
            .start_call(2, "gate", &gate("none").arguments())
            .read();
        assert_eq!((refused.status, refused.error_code()), (429, Some(-32603)));
        assert_eq!(refused.header("retry-after"), Some("1"));
        let message = "As many calls of yours are running as may; try again when one has ended";
        assert_eq!(refused.json()["error"]["message"], message, "{era:?}");

        let second = gate("second");
        let others = bob.start_call(1, "gate", &second.arguments());
        second.wait();
        let refused = carol
            .start_call(1, "gate", &gate("none").arguments())
            .read();
        assert_eq!((refused.status, refused.error_code()), (503, Some(-32603)));
        assert_eq!(refused.header("retry-after"), Some("1"));

        for (gate, mut call) in [(&first, running), (&second, others)] {
            gate.open();
            assert_eq!(
                call.read().json()["result"]["content"][0]["text"],
                "through"
            );
        }
        // The place is free when the process is gone, which may be after the answer.
        let again = gate("again");
        again.open();
        let has_room = eventually(|| {
            let response = alice.start_call(3, "gate", &again.arguments()).read();
            (response.status == 200).then_some(())
        });
        assert!(has_room.is_some(), "{era:?}");
    }
}

#[test]
fn nine_are_served_while_one_floods() {
    const CALLS: usize = 10;
    let nine = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let tools = "
tools:
  work: {description: d, effect: read, exec: sleep 0.02, concurrency: {max: 4, queue: 12}}
";
    let everybody = [&nine[..], &["flood"]].concat();
    let options = ["--max-calls-per-principal", "24"];
    let server = TestServer::with_auth(tools, &auth(&everybody), &options);
    for era in ERAS {
        let is_over = AtomicBool::new(false);
        let [refused, full, succeeded] = [(); 3].map(|()| AtomicUsize::new(0));
        let call = |client: &Client| client.start_call(1, "work", &json!({})).read();
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    let client = Client::new(&server, era, Some(&token("flood")));
                    while !is_over.load(Ordering::Relaxed) {
                        let response = call(&client);
                        match response.status {
                            429 => refused.fetch_add(1, Ordering::Relaxed),
                            503 => full.fetch_add(1, Ordering::Relaxed),
                            status => {
                                assert_eq!(status, 200, "{response:?}");
                                continue;
                            }
                        };
                    }
                });
            }
            let flooded = eventually(|| {
                let seen = [&refused, &full].map(|count| count.load(Ordering::Relaxed));
                (seen.iter().sum::<usize>() > 100).then_some(())
            });
            let calls = nine.map(|name| {
                let (server, succeeded) = (&server, &succeeded);
                scope.spawn(move || {
                    let client = Client::new(server, era, Some(&token(name)));
                    for _ in 0..CALLS {
                        let response = call(&client);
                        let is_good =
                            response.status == 200 && response.json()["result"]["isError"] == false;
                        succeeded.fetch_add(usize::from(is_good), Ordering::Relaxed);
                    }
                })
            });
            let ends = calls.map(thread::ScopedJoinHandle::join);
            is_over.store(true, Ordering::Relaxed);
            assert!(flooded.is_some(), "{era:?}: there is no flood");
            assert!(ends.iter().all(Result::is_ok), "{era:?}");
        });
        let (all, good) = (nine.len() * CALLS, succeeded.into_inner());
        assert!(good * 100 >= all * 95, "{era:?}: {good} of {all}");
    }
}

#[test]
fn a_tool_at_its_limit_is_no_limit_of_another() {
    let tools = format!(
        "tools:{GATE}    concurrency: {{max: 1, queue: 0}}\n  other: {{description: d, exec: echo here}}\n"
    );
    let server = TestServer::start(&tools, &[]);
    for era in ERAS {
        let client = server.client(era);
        let gate = Gate::new(&server, &format!("{era:?}"));
        let mut running = client.start_call(1, "gate", &gate.arguments());
        gate.wait();
        for _ in 0..3 {
            let (why, _) = client.call_refused(503, "gate", &gate.arguments());
            assert!(
                why.starts_with("The tool is busy: 1 call at once is the most"),
                "{why}"
            );
            assert_eq!(client.call_text("other", &json!({})), "here\n");
        }
        gate.open();
        assert_eq!(running.read().json()["result"]["isError"], false, "{era:?}");
        let free = eventually(|| {
            let response = client.start_call(1, "gate", &gate.arguments()).read();
            (response.status == 200).then_some(())
        });
        assert!(free.is_some(), "{era:?}");
    }
}

#[test]
fn who_makes_room_in_a_queue_hears_so_on_the_stream_that_has_begun() {
    let tools = format!("tools:{GATE}    concurrency: {{max: 1, queue: 2}}\n");
    let options = ["--heartbeat", "100ms"];
    let server = TestServer::with_auth(&tools, &auth(&["alice", "bob"]), &options);
    for era in ERAS {
        let client = |name: &str| Client::new(&server, era, Some(&token(name)));
        let [alice, bob] = ["alice", "bob"].map(client);
        let gate = Gate::new(&server, &format!("{era:?}"));
        let begin = |client: &Client, id| {
            let mut http = client.start_call(id, "gate", &gate.arguments());
            let head = http.read_head();
            assert_eq!(
                (head.status, head.header("retry-after")),
                (200, None),
                "{era:?}"
            );
            http
        };
        let running = begin(&alice, 1);
        gate.wait();
        let mut waiting = [2, 3].map(|id| begin(&alice, id));
        let other = begin(&bob, 4);
        let refused = waiting[1].read_message();
        assert_eq!(refused["id"], 3, "{era:?}: {refused}");
        assert_eq!(refused["error"]["code"], -32603, "{era:?}");
        let why = "The tool is busy: 1 call at once is the most, and 2 wait; nothing was run; try again \
                   when one has ended";
        assert_eq!(refused["error"]["message"], why, "{era:?}");
        gate.open();
        let [first, _] = waiting;
        for mut http in [running, first, other] {
            let result = http.read_message()["result"].clone();
            assert_eq!(result["content"][0]["text"], "through", "{era:?}: {result}");
        }
    }
}

const ASKS: &str = "
tools:
  asks: {description: d, exec: echo done, confirm: 'Do it?'}
  other: {description: d, exec: echo here}
";

/// A session of a client whose user can be asked.
fn session(server: &TestServer, token: Option<&str>) -> Client {
    let client = Client::new(server, Era::Legacy, token);
    let mut message = initialize("2025-11-25");
    message["params"]["capabilities"] = json!({"elicitation": {}});
    let mut http = client.connect();
    let mut headers = vec![("Accept", "application/json, text/event-stream".to_owned())];
    headers.push(("Content-Type", "application/json".to_owned()));
    headers.extend(token.map(|token| ("Authorization", format!("Bearer {token}"))));
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let response = http.request("POST", "/mcp", &headers, &message.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    client.with_session(response.header("mcp-session-id").unwrap())
}

/// Calls a tool that asks; returns when its question is there.
fn asking(client: &Client, id: u64) -> (Http, Value) {
    let mut http = client.start_call(id, "asks", &json!({}));
    assert_eq!(http.read_head().status, 200);
    let message = http.read_message();
    assert_eq!(message["method"], "elicitation/create", "{message}");
    (http, message["id"].clone())
}

fn answer(client: &Client, id: &Value) {
    let result = json!({"action": "accept", "content": {}});
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
    assert_eq!(client.post_message(&answer).status, 202);
}

#[test]
fn a_call_that_waits_for_its_user_keeps_nobody_else_from_running() {
    let server = TestServer::start(ASKS, &["--max-calls", "1"]);
    let client = session(&server, None);
    let (mut first, question) = asking(&client, 1);
    let (_second, _) = asking(&client, 2);
    let other = eventually(|| {
        let response = client.start_call(3, "other", &json!({})).read();
        (response.status == 200).then(|| response.json())
    });
    assert_eq!(other.unwrap()["result"]["content"][0]["text"], "here\n");
    answer(&client, &question);
    let result = first.read_message()["result"].clone();
    assert_eq!(result["content"][0]["text"], "done\n", "{result}");
}

#[test]
fn one_user_has_no_more_than_so_many_open_questions() {
    const MOST: u64 = 32;
    let server = TestServer::with_auth(ASKS, &auth(&["alice", "bob"]), &[]);
    let alice = session(&server, Some(&token("alice")));
    let open: Vec<_> = (1..=MOST).map(|id| asking(&alice, id)).collect();
    let (why, _) = alice.call_refused(429, "asks", &json!({}));
    assert_eq!(
        why,
        "The user must be asked first, and so many calls of this user wait for answers that no more \
         may; nothing was run; answer them, or cancel them, and call again"
    );
    asking(&session(&server, Some(&token("bob"))), 1);
    answer(&alice, &open[0].1);
    let room = eventually(|| {
        let mut http = alice.start_call(100, "asks", &json!({}));
        let head = http.read_head();
        let is_asked = head.header("content-type") == Some("text/event-stream");
        is_asked.then_some(())
    });
    assert!(room.is_some());
}
