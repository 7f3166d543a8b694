//! Definitions that change while they are served.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mcp_serve::protocol::version::Era;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::metrics::{Samples, monitor_of, scrape, value, wait_for};
use crate::streams::Sse;
use crate::support::{
    Client, ERAS, GATE, Gate, Http, TestServer, eventually, modern_meta, sha256, text,
};
use crate::tasks;

const MONITOR: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

/// A tool with this name, which prints it.
fn tool(name: &str) -> String {
    format!("  {name}: {{description: d, exec: /bin/echo {name}}}\n")
}

fn tools(names: &[&str]) -> String {
    let all: String = names.iter().map(|name| tool(name)).collect();
    format!("tools:\n{all}")
}

fn start(text: &str) -> TestServer {
    TestServer::start(text, &MONITOR)
}

/// How often the definitions were read again so far.
fn reloads(server: &TestServer, outcome: &str) -> f64 {
    let series = format!("reloads_total{{outcome=\"{outcome}\"}}");
    value(&scrape(&monitor_of(server)), &series)
}

fn wait_for_reloads(server: &TestServer, outcome: &str, least: f64) {
    let series = format!("reloads_total{{outcome=\"{outcome}\"}}");
    wait_for(&monitor_of(server), &series, |samples| {
        value(samples, &series) > least - 0.5
    });
}

fn listed(client: &Client) -> String {
    let result = client.request("tools/list", &json!({})).json()["result"].take();
    let tools = result["tools"].as_array().expect("a list");
    let names: Vec<_> = tools.iter().map(|tool| text(&tool["name"])).collect();
    names.join(" ")
}

fn wait_for_tools(client: &Client, names: &str) {
    let changed = eventually(|| (listed(client) == names).then_some(()));
    assert!(
        changed.is_some(),
        "{:?} instead of {names:?}",
        listed(client)
    );
}

#[test]
fn a_change_of_the_file_is_served_in_both_eras() {
    let server = start(&tools(&["one"]));
    let clients = ERAS.map(|era| server.client(era));
    for names in ["one two", "two", "three"] {
        let all: Vec<_> = names.split(' ').collect();
        server.replace("tools.yaml", &tools(&all));
        for client in &clients {
            wait_for_tools(client, names);
            assert_eq!(
                client.call_text(all[0], &json!({})),
                format!("{}\n", all[0])
            );
        }
    }
    // In place, as some editors do.
    fs::write(server.folder().join("tools.yaml"), tools(&["four"])).unwrap();
    wait_for_tools(&clients[0], "four");
}

#[test]
fn a_signal_has_the_definitions_read_again() {
    let server = start(&tools(&["one"]));
    for count in [1.0, 2.0] {
        server.signal("HUP");
        wait_for_reloads(&server, "ok", count);
    }
    server.wait_for_log("\"message\":\"reloaded\"");
}

#[test]
fn broken_definitions_change_nothing_but_the_metrics_and_the_log() {
    let server = start(&tools(&["one"]));
    let client = server.client(Era::Modern);
    let monitor = monitor_of(&server);
    let loaded = |samples: &Samples| value(samples, "definitions_loaded_timestamp_seconds");
    let before = loaded(&scrape(&monitor));
    server.replace("tools.yaml", "tools: {one: {descripton: d}}");
    wait_for_reloads(&server, "failed", 1.0);
    let summary = server.wait_for_log("not reloaded");
    assert!(summary.contains("tools.yaml: 2 errors"), "{summary}");
    let line = server.wait_for_log("unknown key `descripton`");
    for part in [
        "\"level\":\"ERROR\"",
        "\"code\":\"E001\"",
        "tools.yaml:1:15\"",
    ] {
        assert!(line.contains(part), "{line}");
    }
    let samples = scrape(&monitor);
    assert!(value(&samples, "reload_success") < 0.5);
    assert!((loaded(&samples) - before).abs() < 1e-6);
    assert_eq!(listed(&client), "one");
    let ready = Http::connect(server.address()).request("GET", "/readyz", &[], "");
    assert_eq!(ready.status, 200);
    server.replace("tools.yaml", &tools(&["two"]));
    wait_for_tools(&client, "two");
    wait_for_reloads(&server, "ok", 1.0);
    let samples = scrape(&monitor);
    assert!(value(&samples, "reload_success") > 0.5);
    assert!(loaded(&samples) > before);
}

#[test]
fn a_file_that_is_gone_for_a_while_is_an_error_like_others() {
    let server = start(&tools(&["one"]));
    let client = server.client(Era::Modern);
    fs::remove_file(server.folder().join("tools.yaml")).unwrap();
    wait_for_reloads(&server, "failed", 1.0);
    assert_eq!(listed(&client), "one");
    server.replace("tools.yaml", &tools(&["two"]));
    wait_for_tools(&client, "two");
}

#[test]
fn a_mounted_configmap_is_read_again_when_its_link_is_swapped() {
    let server = TestServer::start_with("", &MONITOR, |prepare| {
        let folder = prepare.folder;
        fs::create_dir(folder.join("..1")).unwrap();
        fs::write(folder.join("..1/tools.yaml"), tools(&["one"])).unwrap();
        symlink("..1", folder.join("..data")).unwrap();
        fs::remove_file(folder.join("tools.yaml")).unwrap();
        symlink("..data/tools.yaml", folder.join("tools.yaml")).unwrap();
    });
    let client = server.client(Era::Modern);
    for (number, name) in [("..2", "two"), ("..3", "three")] {
        let folder = server.folder();
        fs::create_dir(folder.join(number)).unwrap();
        fs::write(folder.join(number).join("tools.yaml"), tools(&[name])).unwrap();
        symlink(number, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        wait_for_tools(&client, name);
    }
}

#[test]
fn whatever_was_read_is_watched() {
    let main = "include: [tools.d/*.yaml]\ntools:\n  fixed:\n    description: d\n    \
                content: [{type: image, mimeType: image/png, file: image.png}]\n";
    let server = TestServer::start_with(main, &MONITOR, |prepare| {
        fs::create_dir(prepare.folder.join("tools.d")).unwrap();
        fs::write(prepare.folder.join("tools.d/a.yaml"), tools(&["one"])).unwrap();
        fs::write(prepare.folder.join("image.png"), "1").unwrap();
    });
    let client = server.client(Era::Modern);
    assert_eq!(listed(&client), "fixed one");
    server.replace("tools.d/a.yaml", &tools(&["two"]));
    wait_for_tools(&client, "fixed two");
    // A file that the pattern finds now.
    server.replace("tools.d/b.yaml", &tools(&["three"]));
    wait_for_tools(&client, "fixed two three");
    server.replace("image.png", "2");
    let changed = eventually(|| {
        let data = client.call("fixed", &json!({}))["content"][0]["data"].take();
        (data == "Mg==").then_some(())
    });
    assert!(changed.is_some());
}

#[test]
fn a_running_call_ends_with_the_definitions_that_it_began_with() {
    let server = start(&format!("title: Before\ntools:\n{GATE}"));
    let mut calls = Vec::new();
    for era in ERAS {
        let gate = Gate::new(&server, &format!("{era:?}"));
        let client = server.client(era);
        let call = client.start_call(1, "gate", &gate.arguments());
        gate.wait();
        calls.push((client, gate, call));
    }
    server.replace("tools.yaml", &format!("title: After\n{}", tools(&["one"])));
    wait_for_tools(&calls[0].0, "one");
    for (client, gate, mut call) in calls {
        let again = client.request("tools/call", &json!({"name": "gate"}));
        assert_eq!(again.error_code(), Some(-32602));
        gate.open();
        let result = call.read().json()["result"].take();
        assert_eq!(result["content"][0]["text"], "through");
        let server = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert!(server.is_null() || server["title"] == "Before", "{server}");
    }
}

#[test]
fn a_task_is_there_until_its_end() {
    let server = start(&format!("tools:\n{GATE}    task: optional\n"));
    let client = server.client(Era::Modern);
    let gate = Gate::new(&server, "task");
    let request = |method: &str, params: &Value| tasks::request(&client, method, params);
    let params = json!({"name": "gate", "arguments": gate.arguments()});
    let id = request("tools/call", &params).json()["result"]["taskId"].take();
    gate.wait();
    server.replace("tools.yaml", &tools(&["one"]));
    wait_for_tools(&client, "one");
    gate.open();
    let ended = eventually(|| {
        let task = request("tasks/get", &json!({"taskId": id})).json()["result"].take();
        (task["status"] == "completed").then_some(task)
    });
    assert_eq!(ended.unwrap()["result"]["content"][0]["text"], "through");
    let unknown = request("tasks/get", &json!({"taskId": "none"}));
    assert_eq!((unknown.status, unknown.error_code()), (404, Some(-32601)));
}

#[test]
fn a_cursor_from_before_is_refused() {
    let server = TestServer::start(&tools(&["a", "b", "c"]), &["--page-size", "1"]);
    let client = server.client(Era::Modern);
    let next = |cursor: &Value| {
        let params = if cursor.is_null() {
            json!({})
        } else {
            json!({"cursor": cursor})
        };
        client.request("tools/list", &params).json()
    };
    let cursor = next(&Value::Null)["result"]["nextCursor"].take();
    server.replace("tools.yaml", &tools(&["a", "c", "d"]));
    server.wait_for_log("\"message\":\"reloaded\"");
    let refused = eventually(|| (next(&cursor)["error"]["code"] == -32602).then_some(()));
    assert!(refused.is_some());
}

const DBA: &str = "token-of-a-dba-mfZ3b1mXk0Qy7h2V";
const CLERK: &str = "token-of-a-clerk-Qy7h2VmfZ3b1mXk0";

/// The stream of a session at an endpoint.
fn stream(client: &Client, path: &str) -> Sse {
    let headers = client.headers(&Value::Null);
    let headers: Vec<_> = (headers.iter())
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut http = client.connect();
    http.send("GET", path, &headers, "");
    Sse::read(path, http)
}

/// A stream without a session, which hears of all lists and of a resource.
fn listen(client: &Client) -> Sse {
    let filter = json!({"toolsListChanged": true, "promptsListChanged": true,
        "resourcesListChanged": true, "resourceSubscriptions": ["x://fixed"]});
    let mut http = client.connect();
    let params = json!({"notifications": filter, "_meta": modern_meta()});
    client.send_on(
        &mut http,
        &client.message(9, "subscriptions/listen", &params),
    );
    let mut stream = Sse::read("listen", http);
    let first = stream.next().expect("an acknowledgement").message();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    stream
}

/// The methods of the next messages, sorted, since several lists can change at once.
pub(crate) fn told(stream: &mut Sse, count: usize) -> String {
    let mut methods = Vec::new();
    while methods.len() < count {
        let sent = stream.next().expect("a message");
        if !sent.is_empty() {
            let method = text(&sent.message()["method"]);
            methods.push(method.trim_start_matches("notifications/").to_owned());
        }
    }
    methods.sort();
    methods.join(" ")
}

/// Definitions with something for everybody and something for a dba. Each part has a description of
/// its own.
fn parts(tool: &str, secret: &str, prompt: &str, resource: &str) -> String {
    format!(
        "
tools:
  shown: {{description: {tool}, exec: /bin/true}}
  secret: {{description: {secret}, exec: /bin/true, allow: [role:dba], tags: [secret]}}
prompts:
  p: {{description: {prompt}, text: Hello.}}
resources:
  r: {{uri: 'x://fixed', description: {resource}, text: Read me.}}
toolsets:
  some: {{match: [shown, p, r]}}
  other: {{match: [tag:secret, p, r], allow: [role:dba]}}
"
    )
}

/// Whether those hear of something who may see the tool for all, and the secret one.
type Hears = fn((bool, bool)) -> bool;

#[test]
fn those_are_told_whose_list_has_changed() {
    let auth = format!(
        "tokens:\n  - {{sha256: {}, subject: dan, roles: [dba]}}\n  \
         - {{sha256: {}, subject: cleo, roles: [clerk]}}\n",
        sha256(DBA),
        sha256(CLERK)
    );
    let server = TestServer::with_auth(&parts("a", "a", "p0", "a"), &auth, &[]);
    let mut streams = Vec::new();
    for (path, token, hears_shown, hears_secret) in [
        ("/mcp", DBA, true, true),
        ("/mcp", CLERK, true, false),
        ("/mcp/some", DBA, true, false),
        ("/mcp/other", DBA, false, true),
    ] {
        let hears = (hears_shown, hears_secret);
        let session = Client::at(&server, path, Era::Legacy, Some(token));
        let modern = Client::at(&server, path, Era::Modern, Some(token));
        streams.push((format!("{path} session"), hears, stream(&session, path)));
        streams.push((format!("{path} listen"), hears, listen(&modern)));
    }
    let mut reloads = 0;
    let mut reload = |definitions: &str| {
        server.replace("tools.yaml", definitions);
        reloads += 1;
        let is_reload = |line: &&String| line.contains("\"message\":\"reloaded\"");
        let done = || (server.log().iter().filter(is_reload).count() >= reloads).then_some(());
        assert!(eventually(done).is_some());
    };
    let steps: [([&str; 3], Hears, &str); 3] = [
        (["a", "b", "a"], |(_, secret)| secret, "tools"),
        (["b", "b", "a"], |(shown, _)| shown, "tools"),
        (["b", "b", "b"], |_| true, "resources"),
    ];
    for (number, ([tool, secret, resource], hears, what)) in steps.into_iter().enumerate() {
        let prompt = |again| format!("p{}", number + again);
        reload(&parts(tool, secret, &prompt(0), resource));
        // Everybody hears of this; whoever hears of nothing before was not told of the other.
        reload(&parts(tool, secret, &prompt(1), resource));
        for (name, of, stream) in &mut streams {
            let mut expected = vec!["prompts/list_changed".to_owned()];
            expected.extend(hears(*of).then(|| format!("{what}/list_changed")));
            expected.sort();
            let told = told(stream, expected.len());
            assert_eq!(told, expected.join(" "), "{name} {number}");
        }
    }
}

#[test]
fn subscribers_hear_of_a_resource_that_is_written_anew_or_moved() {
    let definitions = |text: &str, file: &str| {
        format!(
            "resources:\n  fixed: {{uri: 'x://fixed', description: d, text: {text}}}\n  \
             filed: {{uri: 'x://filed', description: d, file: {file}}}\n"
        )
    };
    let server = TestServer::start_with(&definitions("one", "a"), &[], |prepare| {
        for name in ["a", "b"] {
            fs::write(prepare.folder.join(name), name).unwrap();
        }
    });
    let client = server.client(Era::Legacy);
    for uri in ["x://fixed", "x://filed"] {
        let answer = client.request("resources/subscribe", &json!({"uri": uri}));
        assert_eq!(answer.json()["result"], json!({}));
    }
    let mut stream = stream(&client, "/mcp");
    let mut updated = || loop {
        let sent = stream.next().expect("a message");
        if !sent.is_empty() && sent.message()["method"] == "notifications/resources/updated" {
            return text(&sent.message()["params"]["uri"]);
        }
    };
    server.replace("tools.yaml", &definitions("two", "a"));
    assert_eq!(updated(), "x://fixed");
    server.replace("tools.yaml", &definitions("two", "b"));
    assert_eq!(updated(), "x://filed");
    fs::write(server.folder().join("b"), "other").unwrap();
    assert_eq!(updated(), "x://filed");
}

#[test]
fn a_toolset_that_is_gone_takes_its_sessions_along() {
    let with = "tools:\n  a: {description: d, exec: /bin/true}\ntoolsets: {t: {match: a}}\n";
    let server = TestServer::start(with, &[]);
    let session = Client::at(&server, "/mcp/t", Era::Legacy, None);
    let other = server.client(Era::Legacy);
    let mut stream = stream(&session, "/mcp/t");
    server.replace("tools.yaml", &tools(&["a"]));
    while stream.next().is_some() {}
    assert_eq!(session.request("tools/list", &json!({})).status, 404);
    assert_eq!(listed(&other), "a");
}

#[test]
fn what_changed_before_a_session_listens_is_told_then() {
    let server = start(&tools(&["one"]));
    let early = server.client(Era::Legacy);
    server.replace("tools.yaml", &tools(&["one", "two"]));
    wait_for_tools(&early, "one two");
    let late = server.client(Era::Legacy);
    assert_eq!(told(&mut stream(&early, "/mcp"), 1), "tools/list_changed");
    // What a session knew from the start is no news: the next change is the first it hears of.
    let mut late = stream(&late, "/mcp");
    let prompt = "prompts: {p: {description: d, text: Hello.}}\n";
    server.replace("tools.yaml", &format!("{}{prompt}", tools(&["one", "two"])));
    assert_eq!(told(&mut late, 1), "prompts/list_changed");
}

/// A script that says that a list has changed.
fn says(what: &str) -> String {
    let run = format!("echo '{{\"mcp\":\"list_changed\",\"what\":\"{what}\"}}'");
    format!("{{run: {}}}", json!(run))
}

/// Has what is hidden from a clerk say that the tools have changed, and then what is shown say so of the
/// prompts, and checks who hears of what.
fn check_who_hears(definitions: &str, say: impl Fn(&Client, &str)) {
    let auth = format!(
        "tokens:\n  - {{sha256: {}, subject: dan, roles: [dba]}}\n  \
         - {{sha256: {}, subject: cleo, roles: [clerk]}}\n",
        sha256(DBA),
        sha256(CLERK)
    );
    let toolsets = "toolsets:\n  part: {match: [shown]}\n";
    let definitions = format!("defaults: {{messages: true}}\n{definitions}{toolsets}");
    let server = TestServer::with_auth(&definitions, &auth, &[]);
    let session = |path, token| Client::at(&server, path, Era::Legacy, Some(token));
    let dba = session("/mcp", DBA);
    let mut streams = [
        ("dba", stream(&dba, "/mcp"), 2),
        ("clerk", stream(&session("/mcp", CLERK), "/mcp"), 1),
        (
            "toolset",
            stream(&session("/mcp/part", DBA), "/mcp/part"),
            1,
        ),
    ];
    for name in ["hidden", "shown"] {
        say(&dba, name);
    }
    for (name, stream, count) in &mut streams {
        let expected = ["prompts/list_changed", "tools/list_changed"];
        assert_eq!(told(stream, *count), expected[..*count].join(" "), "{name}");
    }
}

#[test]
fn a_tool_is_heard_by_those_who_may_use_it() {
    let definitions = format!(
        "tools:\n  \
         hidden: {{description: d, script: {}, allow: [role:dba]}}\n  \
         shown: {{description: d, script: {}}}\n",
        says("tools"),
        says("prompts")
    );
    check_who_hears(&definitions, |client, name| {
        client.call_text(name, &json!({}));
    });
}

#[test]
fn a_completion_is_heard_by_those_who_may_use_its_prompt() {
    let definitions = format!(
        "prompts:\n  \
         hidden: {{description: d, text: '{{n}}', params: {{n: string}}, allow: [role:dba], \
         complete: {{n: {{script: {}}}}}}}\n  \
         shown: {{description: d, text: '{{n}}', params: {{n: string}}, \
         complete: {{n: {{script: {}}}}}}}\n",
        says("tools"),
        says("prompts")
    );
    check_who_hears(&definitions, |client, name| {
        let argument = json!({"name": "n", "value": ""});
        let params = json!({"ref": {"type": "ref/prompt", "name": name}, "argument": argument});
        let answer = client.request("completion/complete", &params);
        assert_eq!(
            answer.json()["result"]["completion"]["total"],
            0,
            "{answer:?}"
        );
    });
}

#[test]
fn a_tool_that_is_gone_is_heard_by_everybody() {
    let run = "touch \"$INPUT_PATH.started\"; until [ -e \"$INPUT_PATH.open\" ] || [ ! -e \"$INPUT_PATH.started\" ]; do sleep 0.02; done; \
               echo '{\"mcp\":\"list_changed\",\"what\":\"prompts\"}'";
    let server = start(&format!(
        "tools:\n  late: {{description: d, script: {{run: {}}}, params: {{path: string}}, \
         messages: true}}\n",
        json!(run)
    ));
    let client = server.client(Era::Legacy);
    let gate = Gate::new(&server, "gate");
    let mut call = client.start_call(1, "late", &gate.arguments());
    gate.wait();
    let mut stream = stream(&client, "/mcp");
    server.replace("tools.yaml", &tools(&["one"]));
    assert_eq!(told(&mut stream, 1), "tools/list_changed");
    gate.open();
    assert_eq!(told(&mut stream, 1), "prompts/list_changed");
    assert_eq!(call.read().status, 200);
}

/// How many reloads must fail in [`hundreds_of_broken_reloads_fail_no_call`]: those of some ten seconds.
const RELOADS: f64 = 400.0;

/// C09 of the threat model: what serves must not depend on what cannot be read.
#[test]
fn hundreds_of_broken_reloads_fail_no_call() {
    let server = start(&tools(&["one"]));
    let done = AtomicBool::new(false);
    let calls = thread::scope(|scope| {
        let calling: Vec<_> = ERAS
            .map(|era| {
                let client = server.client(era);
                let done = &done;
                scope.spawn(move || {
                    let mut calls = 0;
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(client.call_text("one", &json!({})), "one\n");
                        calls += 1;
                    }
                    calls
                })
            })
            .into();
        let file = server.folder().join("tools.yaml");
        let process = Pid::from_raw(server.pid().cast_signed()).unwrap();
        let monitor = monitor_of(&server);
        let mut failed = 0.0;
        while failed < RELOADS {
            fs::write(&file, format!("tools: {{one: {{exec: [{failed}]}}}}")).unwrap();
            kill_process(process, Signal::HUP).unwrap();
            let before = failed;
            let series = "reloads_total{outcome=\"failed\"}";
            let samples = wait_for(&monitor, series, |samples| value(samples, series) > before);
            failed = value(&samples, series);
        }
        done.store(true, Ordering::Relaxed);
        let calls = calling.into_iter().map(|calling| calling.join().unwrap());
        calls.sum::<usize>()
    });
    assert!(calls > 0);
    assert!(reloads(&server, "ok") < 0.5);
}
