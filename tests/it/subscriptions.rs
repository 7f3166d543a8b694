//! Who is told what changes, when, and what that costs.

use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use http_body_util::BodyExt as _;
use mcp_serve::changes::Change;
use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::in_process::{InProcess, Peer, first_request};
use crate::metrics::value;
use crate::support::{Client, Http, PATIENCE, TOKEN, TestServer, eventually, sha256};

const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

const LISTS: [(Change, &str); 3] = [
    (Change::Tools, "notifications/tools/list_changed"),
    (Change::Prompts, "notifications/prompts/list_changed"),
    (Change::Resources, "notifications/resources/list_changed"),
];

/// How long a test looks for what must not come: a few times as long as changes are held back.
const A_WHILE: Duration = Duration::from_millis(400);

/// An event stream of the router, read message by message.
struct Stream {
    body: Body,
    unread: String,
}

impl Stream {
    fn new(name: &str, response: http::Response<Body>) -> Self {
        assert_eq!(response.status(), 200, "{name}: {response:?}");
        let content_type = &response.headers()["content-type"];
        assert_eq!(content_type, "text/event-stream", "{name}");
        Self {
            body: response.into_body(),
            unread: String::new(),
        }
    }

    /// The stream of a session.
    async fn of_session(server: &InProcess, peer: &Peer) -> Self {
        let response = server.open("GET", &peer.on_session("GET")).await;
        Self::new("GET", response)
    }

    /// What a client listens to. The acknowledgement is read.
    async fn listen(server: &InProcess, id: &Value, filter: &Value) -> (Self, Value) {
        let name = filter.to_string();
        let response = server.open(&name, &listen(server, id, filter).await).await;
        let mut stream = Self::new(&name, response);
        let first = stream.next().await.expect("an acknowledgement");
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(tag(&first), id, "{first}");
        (stream, first["params"]["notifications"].clone())
    }

    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.unread.find("\n\n") {
                let event: String = self.unread.drain(..end + 2).collect();
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                match data.filter(|data| !data.is_empty()) {
                    Some(data) => return Some(serde_json::from_str(data).unwrap()),
                    None => continue,
                }
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.expect("a frame or the end")?.unwrap();
            self.unread += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
    }

    /// The methods of what comes within [`A_WHILE`].
    async fn methods(&mut self) -> Vec<String> {
        let mut methods = Vec::new();
        while let Ok(Some(message)) = tokio::time::timeout(A_WHILE, self.next()).await {
            methods.push(message["method"].as_str().unwrap().to_owned());
        }
        methods
    }
}

/// The request that opens a stream.
async fn listen(server: &InProcess, id: &Value, filter: &Value) -> crate::in_process::Request {
    let peer = server.peer(Era::Modern).await;
    let params = json!({"_meta": crate::support::modern_meta(), "notifications": filter});
    let message =
        json!({"jsonrpc": "2.0", "id": id, "method": "subscriptions/listen", "params": params});
    peer.post(&message)
}

/// The subscription that a message names.
fn tag(message: &Value) -> &Value {
    let of = message.get("params").unwrap_or(&message["result"]);
    &of["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

fn announce_all(server: &InProcess) {
    for (change, _) in LISTS {
        server.app.changes.announce(change);
    }
}

fn open_streams(server: &InProcess, kind: &str) -> f64 {
    let page = server.app.metrics.encode();
    let series = format!("mcp_serve_streams{{kind=\"{kind}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&series));
    line.expect(&series).parse().unwrap()
}

#[tokio::test]
async fn a_listener_is_told_what_it_asked_for_and_no_more() {
    let server = InProcess::new();
    let cases = [
        (json!({"toolsListChanged": true}), json!(1)),
        (json!({}), json!("nothing")),
        (json!({"toolsListChanged": false}), json!("a\nb\"")),
        (json!({"toolsListChanged": true, "future": true}), json!(-7)),
    ];
    for (filter, id) in cases {
        let (mut stream, agreed) = Stream::listen(&server, &id, &filter).await;
        let wants_tools = filter["toolsListChanged"] == true;
        let expected = if wants_tools {
            json!({"toolsListChanged": true})
        } else {
            json!({})
        };
        assert_eq!(agreed, expected, "{filter}");
        announce_all(&server);
        if wants_tools {
            let message = stream.next().await.unwrap();
            assert_eq!(message["method"], "notifications/tools/list_changed");
            assert_eq!(tag(&message), &id, "{message}");
        }
        let more = stream.methods().await;
        assert!(more.is_empty(), "{filter}: {more:?}");
    }
}

#[tokio::test]
async fn a_filter_that_is_none_is_refused() {
    let server = InProcess::new();
    let uris: Vec<_> = (0..1001).map(|number| format!("test://{number}")).collect();
    for filter in [
        json!(null),
        json!([]),
        json!({"toolsListChanged": "yes"}),
        json!({"resourceSubscriptions": [7]}),
        json!({"resourceSubscriptions": uris}),
    ] {
        let request = listen(&server, &json!(1), &filter).await;
        let answer = server.send("filter", &request).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.error_code(), Some(-32602), "{answer:?}");
    }
    assert!(open_streams(&server, "listen") < 0.5);
}

#[tokio::test]
async fn list_changed_is_offered_where_it_can_be_told() {
    let cases = [
        ("with sessions", Era::Legacy, true, true),
        ("without sessions", Era::Legacy, false, false),
        ("modern", Era::Modern, false, true),
    ];
    for (name, era, has_sessions, expected) in cases {
        let server = InProcess::with(|app| {
            if !has_sessions {
                app.sessions = None;
            }
        });
        let request = match era {
            Era::Legacy => first_request("2025-11-25"),
            Era::Modern => {
                let peer = server.peer(era).await;
                peer.request("server/discover", &json!({}))
            }
        };
        let answer = server.send(name, &request).await.json();
        let tools = &answer["result"]["capabilities"]["tools"];
        assert_eq!(tools["listChanged"] == true, expected, "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_million_announcements_cost_a_listener_few_messages() {
    let server = InProcess::new();
    let (mut stream, _) =
        Stream::listen(&server, &json!(1), &json!({"toolsListChanged": true})).await;
    let peer = server.peer(Era::Legacy).await;
    let mut session = Stream::of_session(&server, &peer).await;
    let began = Instant::now();
    for number in 0..1_000_000 {
        server.app.changes.announce(Change::Tools);
        if number % 10_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let (told, told_session) = tokio::join!(stream.methods(), session.methods());
    // One now, one at the end, and one in between for each tenth of a second.
    let most = 2 + began.elapsed().as_millis() / 100;
    for told in [told, told_session] {
        let count = u128::try_from(told.len()).unwrap();
        assert!((1..=most).contains(&count), "{count} of {most}");
    }
}

#[tokio::test]
async fn a_listener_that_does_not_read_misses_nothing_and_holds_nothing() {
    let server = InProcess::new();
    let (mut stream, _) =
        Stream::listen(&server, &json!(1), &json!({"toolsListChanged": true})).await;
    let peer = server.peer(Era::Legacy).await;
    let mut session = Stream::of_session(&server, &peer).await;
    for _ in 0..10_000 {
        announce_all(&server);
    }
    let page = server.app.metrics.encode();
    assert!(
        page.contains("mcp_serve_stream_buffered_bytes 0\n"),
        "{page}"
    );
    assert!(page.contains("dropped_messages_total{kind=\"list_changed\"} 0\n"));
    assert_eq!(stream.methods().await, [LISTS[0].1]);
    assert_eq!(session.methods().await, LISTS.map(|(_, method)| method));
}

#[tokio::test]
async fn every_session_with_a_stream_is_told() {
    let server = InProcess::new();
    for version in LEGACY {
        let peer = server.peer_of(version).await;
        let silent = server.peer_of(version).await;
        let mut stream = Stream::of_session(&server, &peer).await;
        announce_all(&server);
        for (_, method) in LISTS {
            let message = stream.next().await.unwrap();
            assert_eq!(message["method"], method, "{version}");
            assert_eq!(message.get("id"), None, "{version}");
            assert_eq!(message["params"], json!({}), "{version}");
        }
        // What was before its first stream, a client has seen in the list.
        let mut late = Stream::of_session(&server, &silent).await;
        assert!(late.methods().await.is_empty(), "{version}");
        // What happened while it had none, it has not.
        drop(stream);
        announce_all(&server);
        let mut again = Stream::of_session(&server, &peer).await;
        assert_eq!(again.methods().await, LISTS.map(|(_, method)| method));
    }
}

#[tokio::test]
async fn the_newest_stream_of_a_session_is_told_once() {
    let server = InProcess::new();
    let peer = server.peer(Era::Legacy).await;
    let mut old = Stream::of_session(&server, &peer).await;
    let mut new = Stream::of_session(&server, &peer).await;
    server.app.changes.announce(Change::Tools);
    assert_eq!(old.next().await, None);
    assert_eq!(new.methods().await, [LISTS[0].1]);
}

#[tokio::test]
async fn a_server_that_stops_ends_a_subscription_with_its_reply() {
    let server = InProcess::new();
    let (mut stream, _) =
        Stream::listen(&server, &json!("s"), &json!({"toolsListChanged": true})).await;
    server.app.draining.cancel();
    check_closed(&mut stream, &json!("s")).await;
    let refused = listen(&server, &json!(2), &json!({})).await;
    assert_eq!(server.send("late", &refused).await.status, 503);
}

/// Checks that a stream ends with the reply to the request that opened it.
async fn check_closed(stream: &mut Stream, id: &Value) {
    let last = stream.next().await.expect("a reply");
    assert_eq!(&last["id"], id, "{last}");
    assert_eq!(last["result"]["resultType"], "complete", "{last}");
    assert_eq!(tag(&last), id, "{last}");
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_subscription_ends_at_the_age_of_a_stream() {
    let server = InProcess::with(|app| app.options.stream_max_age = Duration::from_millis(100));
    let (mut stream, _) = Stream::listen(&server, &json!(3), &json!({})).await;
    check_closed(&mut stream, &json!(3)).await;
    let page = server.app.metrics.encode();
    let series = "stream_closed_total{kind=\"listen\",reason=\"max_age\"} 1\n";
    assert!(page.contains(series), "{page}");
}

#[tokio::test]
async fn a_silent_subscription_gets_comments() {
    let server = InProcess::with(|app| app.options.heartbeat = Duration::from_millis(100));
    let (mut stream, _) = Stream::listen(&server, &json!(3), &json!({})).await;
    for _ in 0..3 {
        let frame = stream.body.frame().await.unwrap().unwrap();
        assert_eq!(frame.data_ref().unwrap(), ":\n\n");
    }
}

#[tokio::test]
async fn so_many_may_listen_from_one_address() {
    let server = InProcess::new();
    let mut streams = Vec::new();
    for id in 0..100 {
        streams.push(Stream::listen(&server, &json!(id), &json!({})).await);
    }
    let request = listen(&server, &json!("more"), &json!({})).await;
    let refused = server.send("one more", &request).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.json()["id"], "more", "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    // A session is counted elsewhere.
    let peer = server.peer(Era::Legacy).await;
    Stream::of_session(&server, &peer).await;
    streams.pop();
    streams.push(Stream::listen(&server, &json!("again"), &json!({})).await);
    drop(streams);
    assert!(open_streams(&server, "listen") < 0.5);
}

/// Opens a stream over a socket.
fn listen_over(server: &TestServer, client: &Client, filter: &Value) -> Http {
    let params = json!({"notifications": filter});
    let mut http = Http::connect(server.address());
    client.send_on(
        &mut http,
        &client.message(9, "subscriptions/listen", &params),
    );
    let head = http.read_head();
    assert_eq!(head.status, 200, "{head:?}");
    http
}

/// Reads a stream to its clean end, and returns the data of its last event.
fn last_message(http: &mut Http) -> Value {
    let mut text = String::new();
    while let Some(chunk) = http.read_chunk() {
        text += std::str::from_utf8(&chunk).unwrap();
    }
    let mut data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.next_back().expect("an event")).unwrap()
}

const TOOLS: &str = "
name: subscriptions-test
tools:
  echo: {description: Prints its argument., exec: 'printf %s {text}', params: {text: string}}
";

#[test]
fn a_user_has_so_many_subscriptions_and_each_ends_with_its_token() {
    let expires = SystemTime::now() + Duration::from_secs(4);
    let auth = format!(
        "tokens:\n  - {{sha256: {}, subject: alice, expires: {}}}\n",
        sha256(TOKEN),
        humantime::format_rfc3339_millis(expires)
    );
    let server = TestServer::with_auth(TOOLS, &auth, &["--heartbeat", "1m"]);
    let client = Client::new(&server, Era::Modern, Some(TOKEN));
    let mut streams: Vec<_> = (0..16)
        .map(|_| listen_over(&server, &client, &json!({"toolsListChanged": true})))
        .collect();
    let params = json!({"notifications": {}});
    let refused = client.request("subscriptions/listen", &params);
    assert_eq!(refused.status, 429, "{refused:?}");
    for stream in &mut streams {
        let last = last_message(stream);
        assert_eq!(last["id"], 9, "{last}");
        assert_eq!(last["result"]["resultType"], "complete", "{last}");
        let now = SystemTime::now();
        assert!(now + Duration::from_millis(1) >= expires, "early");
    }
}

#[test]
fn a_stopping_server_says_goodbye_to_listeners() {
    let mut server = TestServer::start(TOOLS, &[]);
    let client = server.client(Era::Modern);
    let mut stream = listen_over(&server, &client, &json!({"toolsListChanged": true}));
    let began = Instant::now();
    server.signal("TERM");
    let last = last_message(&mut stream);
    assert_eq!(last["result"]["resultType"], "complete", "{last}");
    assert!(server.wait().success());
    assert!(began.elapsed() < Duration::from_secs(10), "it waits");
}

#[test]
fn a_listener_that_leaves_leaves_nothing() {
    let server = TestServer::start(TOOLS, &["--metrics-listen", "127.0.0.1:0"]);
    let monitor = crate::metrics::monitor_of(&server);
    let client = server.client(Era::Modern);
    let streams: Vec<_> = (0..20)
        .map(|_| listen_over(&server, &client, &json!({"toolsListChanged": true})))
        .collect();
    let open = || {
        value(
            &crate::metrics::scrape(&monitor),
            "streams{kind=\"listen\"}",
        )
    };
    assert!((open() - 20.0).abs() < 0.5);
    drop(streams);
    assert!(eventually(|| (open() < 0.5).then_some(())).is_some());
}
