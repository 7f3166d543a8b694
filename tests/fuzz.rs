//! Bytes → message → era → plan, with bytes that nobody would send: the whole way of a request up to
//! the point where something runs.
//!
//! The inputs are mutations of the files in `tests/fuzz/corpus`, from a seed, so that a failure can be
//! repeated: it prints its input. `cargo test --test fuzz` tries a fixed number;
//! `MCP_SERVE_FUZZ_SECONDS=60 cargo test --test fuzz` goes on for that long.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test may panic and print"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the time and the limit come from outside"
)]

#[path = "fuzz/json.rs"]
mod json;
#[path = "fuzz/mutate.rs"]
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs};

use mcp_serve::auth::{Caller, Principal};
use mcp_serve::catalog::{Catalog, Environment};
use mcp_serve::dispatch::{self, Context, Plan};
use mcp_serve::outputs::Outputs;
use mcp_serve::protocol::jsonrpc::{
    Body, ErrorObject, MAX_DEPTH, Message, PARSE_ERROR, Request, RequestId, UnreadableId,
    encode_error, encode_result, parse,
};
use mcp_serve::protocol::logging::Level;
use mcp_serve::protocol::modern::{check_argument, check_headers, check_meta};
use mcp_serve::protocol::version::{Era, ProtocolVersion, Served, classify};
use mcp_serve::seal::Seal;
use serde_json::Value;
use serde_json::value::RawValue;

use mutate::Mutator;

/// How many inputs are tried without a time.
const INPUTS: usize = 20_000;

/// Something under each name that the corpus uses.
const TOOLS: &str = "
tools:
  plain: {description: Takes nothing., exec: /bin/true}
  job: {description: Takes long., exec: /bin/true, task: optional}
  routed:
    description: Repeats an argument in a header.
    exec: /bin/echo {region}
    params: {region: {type: string, x-mcp-header: Region}}
  greet:
    description: Says hello.
    exec: /bin/echo hello -- {name} [--times={times}]
    params: {name: {type: string, maxLength: 10}, times: optional integer}
    confirm: Greet {name}?
prompts:
  review:
    description: Reviews.
    text: Review {code}.
    params: {code: string}
    complete: {code: [one, two]}
resources:
  text: {uri: 'test://text', description: A text., text: x}
resource_templates:
  items:
    uri: test://items/{id}
    description: An item.
    text: Item {id}.
    params: {id: {type: string, pattern: '^[a-z]*$'}}
";

/// What a client may say about its version beside the body.
const HEADERS: [Option<&str>; 5] = [
    None,
    Some("2025-03-26"),
    Some("2025-11-25"),
    Some("2026-07-28"),
    Some("1.0"),
];

fn catalog() -> &'static Arc<Catalog> {
    static CATALOG: OnceLock<Arc<Catalog>> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let loaded = Catalog::parse(TOOLS, Path::new("tools.yaml"), &Environment::default());
        Arc::new(loaded.unwrap().catalog)
    })
}

fn seal() -> &'static Seal {
    static SEAL: OnceLock<Seal> = OnceLock::new();
    SEAL.get_or_init(Seal::random)
}

/// Takes any bytes; panics if they are not treated as they should be. Returns whether they were
/// read as messages.
fn target(input: &[u8]) -> bool {
    let seen = json::scan(input);
    match parse(input) {
        Ok(body) => {
            let seen = seen.expect("what is read is JSON");
            assert!(!seen.has_duplicates, "a key stands twice");
            // A batch is one level more than each of its messages.
            let most = MAX_DEPTH + usize::from(matches!(body, Body::Batch(_)));
            assert!(seen.depth <= most, "{} levels", seen.depth);
            match body {
                Body::Message(message) => {
                    check_names(&seen.names);
                    serve(input, message);
                }
                Body::Batch(messages) => {
                    for message in messages.into_iter().flatten() {
                        serve(input, message);
                    }
                }
            }
            true
        }
        Err(refused) => {
            let is_readable =
                seen.is_some_and(|seen| seen.depth <= MAX_DEPTH && !seen.has_large_numbers);
            if is_readable {
                assert_ne!(refused.error.code, PARSE_ERROR, "this is JSON");
            }
            let reply = encode_error(refused.id.as_ref(), UnreadableId::Null, &refused.error);
            check_line(&reply);
            false
        }
    }
}

/// Checks that no member of a message is one of ours in another case.
fn check_names(names: &[String]) {
    for name in names {
        for ours in ["jsonrpc", "id", "method", "params", "result", "error"] {
            assert!(name == ours || !name.eq_ignore_ascii_case(ours), "{name}");
        }
    }
}

fn serve(input: &[u8], message: Message) {
    let Message::Request(request) = message else {
        return;
    };
    for header in HEADERS {
        let era = classify(Served::Both, header, Some(&request.method), &request.params);
        let Ok(era) = era else {
            continue;
        };
        if era == Era::Modern {
            if check_meta(&request.params).is_err() {
                continue;
            }
            // With any name: what is asked for here is only that it does not panic.
            check_headers(&request, Some(&request.method), Some("=?base64?Zm9v?=")).ok();
        }
        let mut planned = Request {
            id: request.id.clone(),
            method: request.method.clone(),
            params: request.params.clone(),
        };
        let context = Context {
            version: match era {
                Era::Legacy => ProtocolVersion::V2025_11_25,
                Era::Modern => ProtocolVersion::V2026_07_28,
            },
            served: Served::Both,
            catalog: catalog(),
            caller: &Arc::new(Caller::new(Principal::Anonymous)),
            capabilities: None,
            traceparent: None,
            outputs: &Outputs::default(),
            seal: seal(),
            now: SystemTime::now(),
            legacy_level: Level::DEFAULT,
            hears_changes: true,
            keeps_tasks: true,
            page_size: 2,
        };
        if era == Era::Modern {
            for (name, argument) in dispatch::mirrored(&context, &request) {
                check_argument(name, Some("=?base64?ZXU=?="), argument).ok();
            }
        }
        match dispatch::plan(&context, &mut planned) {
            Plan::Reply(outcome) | Plan::Answered { outcome, .. } => {
                check_reply(input, era, &request.id, &outcome);
            }
            Plan::Call(call) => assert!(catalog().tool(&call.tool.name).is_some()),
            Plan::Task(_) | Plan::Remember(_) | Plan::Listen(_) | Plan::StepUp(_) => {}
        }
    }
}

fn check_reply(input: &[u8], era: Era, id: &RequestId, reply: &Result<Box<RawValue>, ErrorObject>) {
    let line = match reply {
        Ok(result) => encode_result(id, result),
        Err(error) => encode_error(Some(id), UnreadableId::Null, error),
    };
    let message = check_line(&line);
    if let Some(result) = message.get("result") {
        let has_type = result.get("resultType").is_some();
        assert_eq!(has_type, era == Era::Modern, "{message}");
    }
    // The id is what the client wrote, byte for byte, but for what some readers of event streams take
    // for the end of a line.
    let id = id.to_string();
    let holds = |bytes: &[u8], id: &str| bytes.windows(id.len()).any(|part| part == id.as_bytes());
    let mut echoed = id.clone();
    for (end, escape) in [
        ('\u{85}', r"\u0085"),
        ('\u{2028}', r"\u2028"),
        ('\u{2029}', r"\u2029"),
    ] {
        echoed = echoed.replace(end, escape);
    }
    assert!(holds(input, &id) && holds(&line, &echoed), "{id}");
}

/// Checks that a reply is one line of JSON, which cannot break the framing of an event stream.
fn check_line(line: &[u8]) -> Value {
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    serde_json::from_slice(line).expect("a reply is JSON")
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // The order decides what a seed means.
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Tries one input; on a panic prints it, for the corpus.
fn try_one(input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| target(input))).unwrap_or_else(|panic| {
        eprintln!("the input was: {}", input.escape_ascii());
        std::panic::resume_unwind(panic)
    })
}

#[test]
fn nothing_that_a_client_sends_is_misread() {
    let seeds = corpus();
    for seed in &seeds {
        try_one(seed);
    }
    let time = env::var("MCP_SERVE_FUZZ_SECONDS").ok();
    let time = time.map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let started = Instant::now();
    let mut mutator = Mutator::new(seeds, 0x6d63_7073_6572_7665);
    let (mut tried, mut read) = (0_usize, 0_usize);
    while time.map_or(tried < INPUTS, |time| started.elapsed() < time) {
        read += usize::from(try_one(&mutator.input()));
        tried += 1;
    }
    println!(
        "{tried} inputs, {read} of them messages, in {:?}",
        started.elapsed()
    );
    assert!(read * 20 > tried, "the mutations leave nothing to read");
}
