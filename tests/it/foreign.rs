//! What is somebody else's: to everybody but its principal it is as if it were not there.

use std::time::{Duration, Instant};

use mcp_serve::protocol::mcp::Method;
use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::identity::{
    ALICE, ALICE_ELSEWHERE, ALICE_NOWHERE, ALICE_TOO, BOB, auth, on_session, ping, serve,
};
use crate::support::{Client, Http, Response, TestServer, text};

/// The id of no session.
pub(crate) const NO_SESSION: &str = "00000000-0000-4000-8000-000000000000";

/// Whoever is not Alice of Acme.
const OTHERS: [(&str, &str); 3] = [
    ("another subject", BOB),
    ("the same subject in another tenant", ALICE_ELSEWHERE),
    ("the same subject without a tenant", ALICE_NOWHERE),
];

/// A request by its HTTP method, further headers and body.
pub(crate) type Verb = (&'static str, Vec<(&'static str, &'static str)>, String);

/// Each kind of request that can name a session. An `initialize` opens another one.
pub(crate) fn verbs() -> Vec<Verb> {
    let message = |body: Value| ("POST", vec![], body.to_string());
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "environment"}});
    let mut verbs = vec![
        message(json!([call])),
        message(call),
        message(
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
        ),
        message(json!({"jsonrpc": "2.0", "id": 1, "result": {}})),
        ("POST", vec![], "{".to_owned()),
        ("GET", vec![("Last-Event-ID", "1-1")], String::new()),
    ];
    let of_mcp = Method::ALL
        .iter()
        .filter(|method| **method != Method::Initialize);
    let bare = |method: &Method| json!({"jsonrpc": "2.0", "id": 1, "method": method.as_str()});
    verbs.extend(of_mcp.map(|method| message(bare(method))));
    let methods = [
        "GET", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "BREW",
    ];
    verbs.extend(methods.map(|method| (method, vec![], String::new())));
    verbs
}

/// Sends a request for the session of a client, and reads the answer without what differs from one second
/// to the next.
pub(crate) fn send(client: &Client, (method, headers, body): &Verb) -> Response {
    let of_client = client.headers(&Value::Null);
    let of_client = of_client
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let headers: Vec<_> = of_client.chain(headers.iter().copied()).collect();
    let mut http = client.connect();
    http.send(method, "/mcp", &headers, body);
    let mut response = if *method == "HEAD" {
        http.read_head()
    } else {
        http.read()
    };
    response.headers.retain(|(name, _)| name != "date");
    response
}

/// Session rules E1 and E3.
#[test]
fn a_session_of_somebody_else_looks_like_no_session() {
    let server = serve();
    let alice = Client::new(&server, Era::Legacy, Some(ALICE));
    let mut mismatches = 0;
    for (name, token) in OTHERS {
        let thief = alice.with_token(token);
        let lost = thief.with_session(NO_SESSION);
        let failed = || server.statistics()["lookups_failed"]["principal_mismatch"].clone();
        for verb in verbs() {
            let (stolen, unknown) = (send(&thief, &verb), send(&lost, &verb));
            assert_eq!(stolen, unknown, "{name} {verb:?}");
            assert!(stolen.status >= 400, "{name} {verb:?}: {stolen:?}");
            assert_eq!(ping(&alice).status, 200, "{name} {verb:?}: hers goes on");
        }
        for method in ["POST", "GET", "DELETE"] {
            assert_eq!(on_session(&server, &thief, method).status, 404, "{name}");
        }
        // Who asks finds out nothing; the operator does.
        let more = failed().as_u64().unwrap() - mismatches;
        assert!(more >= 3, "{name}: {more}");
        // Its own session is another one.
        let own = Client::new(&server, Era::Legacy, Some(token));
        assert_eq!(ping(&own).status, 200, "{name}");
        assert_eq!(ping(&own.with_token(ALICE)).status, 404, "{name}");
        mismatches = failed().as_u64().unwrap();
    }
    assert_eq!(server.statistics()["active_sessions"], 4);
}

/// Session rule G1: where there are no sessions, nobody's id is looked at.
#[test]
fn a_request_without_sessions_is_served_alike_with_whatever_id() {
    let server = serve();
    let alice = Client::new(&server, Era::Legacy, Some(ALICE));
    let bob = Client::new(&server, Era::Modern, Some(BOB));
    for (method, params) in [
        ("tools/list", json!({})),
        ("server/discover", json!({})),
        ("tools/call", json!({"name": "no_such_tool"})),
    ] {
        let answer = |client: &Client| {
            let mut response = client.request(method, &params);
            response.headers.retain(|(name, _)| name != "date");
            response
        };
        let plain = answer(&bob);
        for id in [alice.session(), NO_SESSION, "x"] {
            assert_eq!(answer(&bob.with_session(id)), plain, "{method} {id}");
        }
    }
    assert_eq!(
        server.statistics()["lookups_failed"]["principal_mismatch"],
        0
    );
    assert_eq!(ping(&alice).status, 200);
}

/// Calls a tool as somebody who agrees to what it asks, in the round of this state.
fn agree(client: &Client, state: &Value) -> Response {
    let agreed = json!({"confirm": {"action": "accept"}});
    let params = json!({"name": "run", "inputResponses": agreed, "requestState": state});
    let mut message = client.message(1, "tools/call", &params);
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"elicitation": {"form": {}}});
    let mut response = client.post_message(&message);
    response.headers.retain(|(name, _)| name != "date");
    response
}

/// Case J24.
#[test]
fn a_state_of_somebody_else_looks_like_a_broken_one() {
    let tools =
        "tools: {run: {description: Runs if its user agrees., exec: echo ran, confirm: Run?}}";
    let server = TestServer::with_auth(tools, &auth(), &[]);
    let alice = Client::new(&server, Era::Modern, Some(ALICE));
    let asked = agree(&alice, &Value::Null).json();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let state = &asked["result"]["requestState"];
    let broken = json!(format!("{}A", text(state)));
    for (name, token) in OTHERS {
        let thief = alice.with_token(token);
        let refused = agree(&thief, state);
        let found = (refused.status, refused.error_code());
        assert_eq!(found, (400, Some(-32602)), "{name}: {refused:?}");
        assert_eq!(refused, agree(&thief, &broken), "{name}");
    }
    let done = agree(&alice.with_token(ALICE_TOO), state).json();
    assert_eq!(done["result"]["content"][0]["text"], "ran\n", "{done}");
}

/// The median time of a request with each of these ids in turn.
fn median_times(server: &TestServer, client: &Client, ids: [&str; 2]) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    let mut http = Http::connect(server.address());
    for _ in 0..400 {
        for (id, times) in ids.iter().zip(&mut times) {
            let client = client.with_session(id);
            let asked = Instant::now();
            client.send_on(&mut http, &client.message(1, "ping", &json!({})));
            assert_eq!(http.read().status, 404);
            times.push(asked.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

/// Session rule E1: nobody learns from the time of an answer that a session is somebody's.
#[test]
fn a_session_of_somebody_else_is_refused_as_fast_as_no_session() {
    let server = serve();
    let alice = Client::new(&server, Era::Legacy, Some(ALICE));
    let gone = Client::new(&server, Era::Legacy, Some(ALICE));
    assert_eq!(on_session(&server, &gone, "DELETE").status, 204);
    let thief = alice.with_token(BOB);
    let [foreign, unknown] = median_times(&server, &thief, [alice.session(), gone.session()]);
    // The same class; the host has its own noise.
    let noise = Duration::from_micros(200);
    assert!(foreign < unknown * 2 + noise, "{foreign:?}, {unknown:?}");
    assert!(unknown < foreign * 2 + noise, "{foreign:?}, {unknown:?}");
}
