//! Who is told what changes, when, and what that costs.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use http_body_util::BodyExt as _;
use mcp_serve::changes::Change;
use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::in_process::{InProcess, Peer, first_request};
use crate::lifecycle::delete;
use crate::metrics::{monitor_of, scrape, value, wait_for};
use crate::streams::{Sent, Sse};
use crate::support::{
    Client, Http, PATIENCE, TOKEN, TestServer, initialize, sha256, text, write_script,
};

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
        // What happened before its first stream, a client may have missed.
        let mut late = Stream::of_session(&server, &silent).await;
        assert_eq!(late.methods().await, LISTS.map(|(_, method)| method));
        // And so while it had none.
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

/// Opens a stream over a socket. The acknowledgement is read.
pub(crate) fn listen_over(server: &TestServer, client: &Client, filter: &Value) -> (Sse, Value) {
    let params = json!({"notifications": filter});
    let mut http = Http::connect(server.address());
    let message = client.message(9, "subscriptions/listen", &params);
    client.send_on(&mut http, &message);
    let mut stream = Sse::read("listen", http);
    let first = stream.next().expect("an acknowledgement").message();
    assert_eq!(tag(&first), 9, "{first}");
    (stream, first["params"]["notifications"].clone())
}

/// Reads a stream to its clean end, and checks that it is a good one.
fn check_last_message(stream: Sse) {
    let messages = stream.rest();
    let last = messages.last().expect("a reply").message();
    assert_eq!(last["id"], 9, "{last}");
    assert_eq!(last["result"]["resultType"], "complete", "{last}");
    assert_eq!(tag(&last), 9, "{last}");
}

const TOOLS: &str = "
name: subscriptions-test
tools:
  announce:
    description: Says many times that a list has changed.
    exec: ./announce.sh {what}
    params: {what: {enum: [tools, prompts, resources]}}
    messages: true
prompts:
  hello: {description: Says hello., text: Hello!}
resources:
  note: {uri: 'test://note', description: A note., file: note.txt}
  other: {uri: 'test://other', description: Another note., file: other.txt}
  fixed: {uri: 'test://fixed', description: Never changes., text: fixed}
resource_templates:
  item: {uri: 'test://item/{id}', description: One of many., text: '{id}'}
";

#[test]
fn a_user_has_so_many_subscriptions_and_each_ends_with_its_token() {
    let expires = SystemTime::now() + Duration::from_secs(4);
    let auth = format!(
        "tokens:\n  - {{sha256: {}, subject: alice, expires: {}}}\n",
        sha256(TOKEN),
        humantime::format_rfc3339_millis(expires)
    );
    let server = TestServer::with_auth(crate::in_process::TOOLS, &auth, &["--heartbeat", "1m"]);
    let client = Client::new(&server, Era::Modern, Some(TOKEN));
    let streams: Vec<_> = (0..16)
        .map(|_| listen_over(&server, &client, &json!({"toolsListChanged": true})).0)
        .collect();
    let params = json!({"notifications": {}});
    let refused = client.request("subscriptions/listen", &params);
    assert_eq!(refused.status, 429, "{refused:?}");
    for stream in streams {
        check_last_message(stream);
        let now = SystemTime::now();
        assert!(now + Duration::from_millis(1) >= expires, "early");
    }
}

#[test]
fn a_stopping_server_says_goodbye_to_listeners() {
    let mut server = serve(&[]);
    let client = server.client(Era::Modern);
    let (stream, _) = listen_over(&server, &client, &json!({"toolsListChanged": true}));
    let began = Instant::now();
    server.signal("TERM");
    check_last_message(stream);
    assert!(server.wait().success());
    assert!(began.elapsed() < Duration::from_secs(10), "it waits");
}

const MONITOR: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

/// Serves [`TOOLS`], with their files.
fn serve(options: &[&str]) -> TestServer {
    TestServer::start_with(TOOLS, &[&MONITOR, options].concat(), |prepare| {
        for name in ["note.txt", "other.txt"] {
            fs::write(prepare.folder.join(name), "first").unwrap();
        }
        let script = "for n in 1 2 3 4 5 6 7 8 9 10; do
            printf '{\"mcp\":\"list_changed\",\"what\":\"%s\"}\\n' \"$1\"; done; printf done";
        write_script(prepare.folder, "announce.sh", script);
    })
}

fn gauge(server: &TestServer, series: &str) -> f64 {
    value(&scrape(&monitor_of(server)), series)
}

fn wait_for_gauge(server: &TestServer, series: &str, expected: f64) {
    wait_for(&monitor_of(server), series, |samples| {
        (value(samples, series) - expected).abs() < 0.5
    });
}

fn subscribe(client: &Client, method: &str, uri: &str) -> Value {
    let answer = client.request(&format!("resources/{method}"), &json!({"uri": uri}));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A session that is subscribed to some resources and listens.
fn subscriber(server: &TestServer, uris: &[&str]) -> (Client, Sse) {
    let client = server.client(Era::Legacy);
    for uri in uris {
        let answer = subscribe(&client, "subscribe", uri);
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    let stream = Sse::get(server, &client, None);
    (client, stream)
}

/// The next message.
fn told(stream: &mut Sse) -> Value {
    loop {
        let sent = stream.next().expect("a message");
        if !sent.is_empty() {
            return sent.message();
        }
    }
}

/// The next message, which must say that a resource has changed.
fn updated(stream: &mut Sse) -> (String, Value) {
    let message = told(stream);
    assert_eq!(message["method"], "notifications/resources/updated");
    (text(&message["params"]["uri"]), tag(&message).clone())
}

#[test]
fn a_tool_tells_everybody_that_a_list_has_changed() {
    let server = serve(&[]);
    let (session, mut stream) = subscriber(&server, &[]);
    let modern = server.client(Era::Modern);
    let filter = json!({"promptsListChanged": true});
    let (mut listener, _) = listen_over(&server, &modern, &filter);
    for what in ["tools", "prompts"] {
        assert_eq!(
            session.call_text("announce", &json!({"what": what})),
            "done"
        );
        let method = format!("notifications/{what}/list_changed");
        assert_eq!(told(&mut stream)["method"], method);
        if what == "prompts" {
            let message = told(&mut listener);
            assert_eq!(message["method"], method);
            assert_eq!(tag(&message), 9, "{message}");
        }
    }
}

#[test]
fn a_file_that_changes_is_told_to_those_who_are_subscribed() {
    let server = serve(&[]);
    let modern = server.client(Era::Modern);
    let (note, other) = ("test://note", "test://other");
    let (_one, mut one) = subscriber(&server, &[note, note]);
    let (_two, mut two) = subscriber(&server, &[other, "test://fixed"]);
    let (three, three_stream) = subscriber(&server, &[]);
    let filter = json!({"resourceSubscriptions": [note, "test://unknown", "test://item/7"]});
    let (mut four, agreed) = listen_over(&server, &modern, &filter);
    let expected = json!({"resourceSubscriptions": [note, "test://item/7"]});
    assert_eq!(agreed, expected);
    let (mut five, _) = listen_over(
        &server,
        &modern,
        &json!({"resourceSubscriptions": [other, note]}),
    );
    server.replace("note.txt", "second");
    assert_eq!(updated(&mut one), (note.to_owned(), Value::Null));
    assert_eq!(updated(&mut four), (note.to_owned(), json!(9)));
    assert_eq!(updated(&mut five).0, note);
    fs::write(server.folder().join("other.txt"), "second").unwrap();
    // The first that they are told is this one.
    assert_eq!(updated(&mut two).0, other);
    assert_eq!(updated(&mut five).0, other);
    assert_eq!(delete(&server, &three).status, 204);
    let told = three_stream.rest();
    assert!(told.iter().all(Sent::is_empty), "{told:?}");
}

#[test]
fn who_unsubscribes_is_told_no_more_and_holds_nothing() {
    let server = serve(&[]);
    let uris = ["test://note", "test://other"];
    let (client, mut stream) = subscriber(&server, &uris);
    wait_for_gauge(&server, "subscriptions", 2.0);
    assert!((gauge(&server, "watched_folders") - 1.0).abs() < 0.5);
    for _ in 0..2 {
        let answer = subscribe(&client, "unsubscribe", "test://note");
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    server.replace("note.txt", "second");
    server.replace("other.txt", "second");
    assert_eq!(updated(&mut stream).0, "test://other");
    assert!((gauge(&server, "subscriptions") - 1.0).abs() < 0.5);
    // The end of a session frees what it was subscribed to.
    assert_eq!(delete(&server, &client).status, 204);
    wait_for_gauge(&server, "subscriptions", 0.0);
    wait_for_gauge(&server, "watched_folders", 0.0);
}

#[test]
fn what_cannot_be_subscribed_to_is_refused() {
    let server = serve(&[]);
    let client = server.client(Era::Legacy);
    let long = format!("test://item/{}", "x".repeat(2048));
    let cases = [
        (json!({"uri": "test://unknown"}), -32002),
        (json!({"uri": "test://item/"}), -32002),
        (json!({"uri": ""}), -32002),
        (json!({"uri": 7}), -32602),
        (json!({"uri": long}), -32602),
        (json!({}), -32602),
    ];
    for (params, code) in cases {
        let answer = client.request("resources/subscribe", &params);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.error_code(), Some(code), "{answer:?}");
    }
    let modern = server.client(Era::Modern);
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        let answer = modern.request(method, &json!({"uri": "test://note"}));
        assert_eq!((answer.status, answer.error_code()), (404, Some(-32601)));
    }
    for number in 0..1000 {
        let answer = subscribe(&client, "subscribe", &format!("test://item/{number}"));
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    let answer = subscribe(&client, "subscribe", "test://note");
    assert_eq!(answer["error"]["code"], -32600, "{answer}");
    subscribe(&client, "unsubscribe", "test://item/0");
    let answer = subscribe(&client, "subscribe", "test://note");
    assert_eq!(answer["result"], json!({}), "{answer}");
}

#[test]
fn without_sessions_nobody_can_subscribe() {
    let server = serve(&["--stateless"]);
    let client = server.client(Era::Legacy);
    for method in ["subscribe", "unsubscribe"] {
        let answer = subscribe(&client, method, "test://note");
        assert_eq!(answer["error"]["code"], -32601, "{answer}");
    }
    let offered = client.post_message(&initialize("2025-11-25")).json();
    let offered = &offered["result"]["capabilities"];
    assert_eq!(offered["resources"], json!({}), "{offered}");
    assert_eq!(offered["prompts"], json!({}), "{offered}");
}

#[test]
fn a_session_hears_afterwards_what_changed_while_it_had_no_stream() {
    let server = serve(&["--resume-buffer", "0"]);
    let (client, stream) = subscriber(&server, &["test://note"]);
    drop(stream);
    wait_for_gauge(&server, "streams{kind=\"get\"}", 0.0);
    server.replace("note.txt", "second");
    let mut stream = Sse::get(&server, &client, None);
    assert_eq!(updated(&mut stream).0, "test://note");
}

#[test]
fn what_is_told_can_be_fetched_again_by_its_id() {
    let server = serve(&[]);
    let (client, mut stream) = subscriber(&server, &["test://note"]);
    let beginning = stream.next().expect("a beginning");
    server.replace("note.txt", "second");
    assert_eq!(updated(&mut stream).0, "test://note");
    drop(stream);
    let mut again = Sse::get(&server, &client, Some(beginning.id()));
    assert_eq!(updated(&mut again).0, "test://note");
    server.replace("note.txt", "third one");
    assert_eq!(updated(&mut again).0, "test://note");
}

#[test]
fn everything_is_acknowledged_that_is_there() {
    let server = serve(&[]);
    let all = json!({"toolsListChanged": true, "promptsListChanged": true,
        "resourcesListChanged": true, "resourceSubscriptions": ["test://fixed"]});
    let (_stream, agreed) = listen_over(&server, &server.client(Era::Modern), &all);
    assert_eq!(agreed, all);
}

#[test]
fn a_listener_that_leaves_leaves_nothing() {
    let server = serve(&[]);
    let client = server.client(Era::Modern);
    let filter = json!({"resourceSubscriptions": ["test://note", "test://item/1"]});
    let streams: Vec<_> = (0..20)
        .map(|_| listen_over(&server, &client, &filter))
        .collect();
    let open = "streams{kind=\"listen\"}";
    assert!((gauge(&server, open) - 20.0).abs() < 0.5);
    assert!((gauge(&server, "subscriptions") - 40.0).abs() < 0.5);
    drop(streams);
    for series in [open, "subscriptions", "watched_folders"] {
        wait_for_gauge(&server, series, 0.0);
    }
}
