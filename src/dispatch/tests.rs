use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::auth::Issuer;
use crate::catalog::Environment;
use crate::protocol::capabilities::Capability;
use crate::protocol::jsonrpc::{Body, INVALID_PARAMS, Message, parse};
use crate::protocol::version::ProtocolVersion;

const TOOLS: &str = "
name: test-server
title: Test
instructions: Ask for the weather.
tools:
  greet:
    title: Greeting
    description: Says hello.
    effect: read
    exec: /bin/echo hello -- {name} [--times={times}]
    params:
      name: {type: string, maxLength: 10}
      times: optional integer
  wipe:
    description: Removes everything.
    exec: /bin/true
";

fn catalog() -> Arc<Catalog> {
    let loaded = Catalog::parse(TOOLS, Path::new("tools.yaml"), &Environment::default());
    Arc::new(loaded.unwrap().catalog)
}

fn context<'a>(era: Era, catalog: &'a Arc<Catalog>, caller: &'a Arc<Caller>) -> Context<'a> {
    static SEAL: LazyLock<Seal> = LazyLock::new(Seal::random);
    static OUTPUTS: LazyLock<Outputs> = LazyLock::new(Outputs::default);
    Context {
        version: match era {
            Era::Legacy => ProtocolVersion::V2025_11_25,
            Era::Modern => ProtocolVersion::V2026_07_28,
        },
        served: Served::Both,
        catalog,
        caller,
        capabilities: None,
        traceparent: None,
        outputs: &OUTPUTS,
        seal: &SEAL,
        now: SystemTime::now(),
        legacy_level: Level::Warning,
        hears_changes: true,
        keeps_tasks: true,
        page_size: 1000,
    }
}

fn caller() -> Arc<Caller> {
    Arc::new(Caller::new(Principal::Anonymous))
}

fn planned(era: Era, method: &str, params: &Value) -> Plan {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let Ok(Body::Message(Message::Request(mut request))) = parse(body.to_string().as_bytes())
    else {
        panic!("a request");
    };
    plan(&context(era, &catalog(), &caller()), &mut request)
}

fn reply(era: Era, method: &str, params: &Value) -> Result<Value, i32> {
    match planned(era, method, params) {
        Plan::Reply(Ok(result))
        | Plan::Answered {
            outcome: Ok(result),
            ..
        } => Ok(serde_json::from_str(result.get()).unwrap()),
        Plan::Reply(Err(error))
        | Plan::Answered {
            outcome: Err(error),
            ..
        } => Err(error.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_takes_a_credential_is_not_shared() {
    let user = Principal::user(Issuer::AuthFile, "alice", None);
    let catalog = catalog();
    for (principal, scope) in [
        (Principal::Anonymous, CacheScope::Public),
        (user, CacheScope::Private),
    ] {
        let caller = Arc::new(Caller::new(principal));
        let context = context(Era::Modern, &catalog, &caller);
        assert_eq!(context.list_caching().cache_scope, scope);
        assert_eq!(context.caching(0).cache_scope, scope);
    }
}

#[test]
fn initialize_answers_with_the_negotiated_version() {
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    let (catalog, caller) = (catalog(), caller());
    let context = context(Era::Legacy, &catalog, &caller);
    let (params, result) = initialize(&context, params.as_object().unwrap()).unwrap();
    assert_eq!(params.version, ProtocolVersion::V2025_06_18);
    let result: Value = serde_json::from_str(result.get()).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        result,
        json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {"logging": {}, "tools": {"listChanged": true}},
            "serverInfo": {"name": "test-server", "title": "Test", "version": version},
            "instructions": "Ask for the weather."
        })
    );
}

#[test]
fn the_list_is_the_same_in_both_eras_but_for_the_envelope() {
    let legacy = reply(Era::Legacy, "tools/list", &json!({})).unwrap();
    let mut modern = reply(Era::Modern, "tools/list", &json!({})).unwrap();
    let modern = modern.as_object_mut().unwrap();
    assert_eq!(modern.remove("resultType"), Some(json!("complete")));
    assert_eq!(modern.remove("cacheScope"), Some(json!("public")));
    assert_eq!(modern.remove("ttlMs"), Some(json!(LIST_TTL_MS)));
    let meta = modern.remove("_meta").unwrap();
    assert_eq!(
        meta["io.modelcontextprotocol/serverInfo"]["name"],
        "test-server"
    );
    assert_eq!(&legacy, &Value::Object(modern.clone()));
    assert_eq!(
        legacy["tools"][0],
        json!({
            "name": "greet",
            "title": "Greeting",
            "description": "Says hello.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 10},
                    "times": {"type": "integer"}
                },
                "required": ["name"],
                "additionalProperties": false
            },
            "annotations": {"readOnlyHint": true}
        })
    );
    assert_eq!(legacy["tools"][1]["annotations"]["destructiveHint"], true);
    assert_eq!(legacy["tools"].as_array().unwrap().len(), 2);
}

#[test]
fn each_era_has_its_own_methods() {
    let cases = [
        (Era::Legacy, "ping", true),
        (Era::Modern, "ping", false),
        (Era::Legacy, "server/discover", false),
        (Era::Modern, "server/discover", true),
        (Era::Legacy, "tools/list", true),
        (Era::Modern, "tools/list", true),
        (Era::Modern, "initialize", false),
        (Era::Modern, "logging/setLevel", false),
        (Era::Legacy, "Tools/List", false),
        (Era::Legacy, "unknown/method", false),
        (Era::Modern, "unknown/method", false),
    ];
    for (era, method, known) in cases {
        let expected = if known { None } else { Some(-32601) };
        assert_eq!(
            reply(era, method, &json!({})).err(),
            expected,
            "{era:?} {method}"
        );
    }
    let discovered = reply(Era::Modern, "server/discover", &json!({})).unwrap();
    assert_eq!(
        discovered["supportedVersions"],
        json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"])
    );
}

#[test]
fn a_good_call_is_planned_in_both_eras() {
    for era in [Era::Legacy, Era::Modern] {
        let params = json!({"name": "greet", "arguments": {"name": "you"}});
        let Plan::Call(call) = planned(era, "tools/call", &params) else {
            panic!("{era:?}: not a call");
        };
        let work = call.tool.work(&call.arguments, &call.caller).unwrap();
        let command = work.command().unwrap();
        assert_eq!(command.arguments, ["hello", "--", "you"]);
        assert!(matches!(
            planned(era, "tools/call", &json!({"name": "wipe"})),
            Plan::Call(_)
        ));
    }
}

#[test]
fn what_a_definition_answers_itself_is_answered_at_once() {
    const TOOLS: &str = "
tools:
  link:
    description: d
    content: [{type: resource_link, uri: 'a:/{x}', name: n}]
    params: {x: {type: string, maxLength: 3}}
  rare: {description: d, content: x, rate: 1/min}
  asked: {description: d, content: x, confirm: Really?}
  task: {description: d, content: x, task: optional}
";
    let loaded = Catalog::parse(TOOLS, Path::new("tools.yaml"), &Environment::default());
    let (catalog, caller) = (Arc::new(loaded.unwrap().catalog), caller());
    let planned = |version, name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let Ok(Body::Message(Message::Request(mut request))) = parse(body.to_string().as_bytes())
        else {
            panic!("a request");
        };
        let context = Context {
            version,
            ..context(Era::Legacy, &catalog, &caller)
        };
        plan(&context, &mut request)
    };
    let link = json!({"type": "resource_link", "uri": "a:/y", "name": "n"});
    let text = json!({"type": "text", "text": "n: a:/y"});
    let wrong = json!({"x": "long"});
    for (version, expected) in [
        (ProtocolVersion::V2025_03_26, text),
        (ProtocolVersion::V2025_11_25, link.clone()),
        (ProtocolVersion::V2026_07_28, link),
    ] {
        for (arguments, failed) in [(json!({"x": "y"}), false), (wrong.clone(), true)] {
            let Plan::Answered {
                tool,
                is_error,
                how,
                outcome,
            } = planned(version, "link", arguments)
            else {
                panic!("{version}: not answered");
            };
            assert_eq!((tool.name.as_str(), is_error), ("link", failed));
            assert_eq!(how, if failed { "invalid arguments" } else { "ok" });
            let result: Value = serde_json::from_str(outcome.unwrap().get()).unwrap();
            assert_eq!(result["isError"], failed, "{result}");
            assert!(failed || result["content"] == json!([expected]), "{result}");
        }
    }
    // What can be too early, asks or is kept is a call like any other.
    for name in ["rare", "asked", "task"] {
        let plan = planned(ProtocolVersion::V2026_07_28, name, json!({}));
        assert!(matches!(plan, Plan::Call(_)), "{name}: {plan:?}");
    }
}

#[test]
fn malformed_calls_are_errors_and_wrong_arguments_are_results() {
    for era in [Era::Legacy, Era::Modern] {
        let errors = [
            ("unknown tool", json!({"name": "Greet"})),
            ("homoglyph", json!({"name": "gr\u{435}et"})),
            ("no name", json!({})),
            ("name is a number", json!({"name": 7})),
            (
                "arguments are a string",
                json!({"name": "greet", "arguments": "x"}),
            ),
            (
                "arguments are an array",
                json!({"name": "greet", "arguments": []}),
            ),
            (
                "arguments are null",
                json!({"name": "greet", "arguments": null}),
            ),
        ];
        for (name, params) in errors {
            assert_eq!(
                reply(era, "tools/call", &params),
                Err(-32602),
                "{era:?} {name}"
            );
        }
        let results = [
            ("missing", json!({"name": "greet"}), "name"),
            (
                "wrong type",
                json!({"name": "greet", "arguments": {"name": 7}}),
                "/name",
            ),
            (
                "too long",
                json!({"name": "greet", "arguments": {"name": "longer than ten"}}),
                "/name",
            ),
            (
                "unknown",
                json!({"name": "greet", "arguments": {"name": "x", "nmae": "y"}}),
                "nmae",
            ),
            (
                "no coercion",
                json!({"name": "greet", "arguments": {"name": "x", "times": "5"}}),
                "/times",
            ),
        ];
        for (name, params, place) in results {
            let result = reply(era, "tools/call", &params).unwrap();
            assert_eq!(result["isError"], true, "{era:?} {name}");
            let text = result["content"][0]["text"].as_str().unwrap();
            assert!(text.contains(place), "{era:?} {name}: {text}");
        }
    }
}

#[test]
fn a_call_knows_its_client() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let params = json!({"name": "wipe", "_meta": {
        "traceparent": PARENT,
        "io.modelcontextprotocol/logLevel": "error",
        "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
    }});
    for (era, level, has_roots) in [
        (Era::Legacy, Level::Warning, false),
        (Era::Modern, Level::Error, true),
    ] {
        let Plan::Call(call) = planned(era, "tools/call", &params) else {
            panic!("{era:?}");
        };
        let client = call.client;
        assert_eq!(client.capabilities.has(Capability::Roots), has_roots);
        assert_eq!(client.log_level, Some(level));
        assert_eq!(
            client.trace.map(|trace| trace.parent),
            Some(PARENT.to_owned())
        );
        assert!(client.retry.is_none(), "nothing is asked");
    }
    let foreign = json!({"name": "wipe", "requestState": "x"});
    assert_eq!(
        reply(Era::Modern, "tools/call", &foreign),
        Err(INVALID_PARAMS)
    );
}

#[test]
fn a_call_knows_the_progress_token_of_its_request() {
    let planned = |era, token: Option<Value>| {
        let mut params = json!({"name": "wipe", "_meta": {}});
        if let Some(token) = token {
            params["_meta"]["progressToken"] = token;
        }
        planned(era, "tools/call", &params)
    };
    let good = [None, Some(json!(7)), Some(json!("7")), Some(json!("a\nb"))];
    let bad = [json!(null), json!(1.5), json!(true), json!(["a"])];
    for era in [Era::Legacy, Era::Modern] {
        for token in &good {
            let Plan::Call(call) = planned(era, token.clone()) else {
                panic!("{era:?} {token:?}");
            };
            assert_eq!(call.progress_token.map(|token| json!(token)), *token);
        }
        for token in &bad {
            let Plan::Reply(Err(error)) = planned(era, Some(token.clone())) else {
                panic!("{era:?} {token:?}");
            };
            assert_eq!(error.code, INVALID_PARAMS, "{era:?} {token:?}");
        }
    }
}

#[test]
fn cursors_that_were_never_handed_out_are_refused() {
    assert_eq!(
        reply(Era::Legacy, "tools/list", &json!({"cursor": "x"})),
        Err(-32602)
    );
    assert!(reply(Era::Legacy, "tools/list", &json!({"cursor": null})).is_ok());
}

#[test]
fn structured_content_fits_the_era() {
    let result = |value: Value| CallToolResult {
        structured_content: Some(value),
        ..CallToolResult::text("x")
    };
    let encoded = |era, value| -> Value {
        let raw = call_result(era, result(value), &catalog()).unwrap();
        serde_json::from_str(raw.get()).unwrap()
    };
    assert_eq!(
        encoded(Era::Legacy, json!({"a": 1}))["structuredContent"],
        json!({"a": 1})
    );
    assert_eq!(
        encoded(Era::Legacy, json!([1])).get("structuredContent"),
        None
    );
    assert_eq!(
        encoded(Era::Modern, json!([1]))["structuredContent"],
        json!([1])
    );
    assert_eq!(encoded(Era::Modern, json!([1]))["resultType"], "complete");
}

#[test]
fn what_a_caller_lacks_scopes_for_hides_nothing_that_it_may_read() {
    const RESOURCES: &str = "
resources:
  exact: {uri: 'x://exact/a', description: d, text: exact, allow: ['scope:exact'], step_up: true}
resource_templates:
  hidden: {uri: 'x://{hidden}/a', description: d, text: '{hidden}', allow: [role:none], params: {hidden: string}}
  first: {uri: 'x://{one}/{at}', description: d, text: '{one} {at}', allow: ['scope:first'], step_up: true, params: {one: string, at: {enum: [a, b]}}}
  second: {uri: 'x://{two}/{at}', description: d, text: '{two} {at}', allow: ['scope:second'], params: {two: string, at: {enum: [a]}}}
";
    type Found<'a> = Result<Option<&'a str>, &'a str>;
    let loaded = Catalog::parse(RESOURCES, Path::new("tools.yaml"), &Environment::default());
    let catalog = Arc::new(loaded.unwrap().catalog);
    let cases: [(&[&str], &str, Found<'_>, Standing); 9] = [
        (&[], "x://exact/a", Err("exact"), Standing::Hidden),
        (&[], "x://other/a", Err("first"), Standing::Hidden),
        (&[], "x://other/c", Ok(None), Standing::Hidden),
        (&[], "y://other/a", Ok(None), Standing::Absent),
        (
            &["first"],
            "x://exact/a",
            Ok(Some("first")),
            Standing::Usable,
        ),
        (
            &["second"],
            "x://exact/a",
            Ok(Some("second")),
            Standing::Usable,
        ),
        (
            &["second"],
            "x://other/a",
            Ok(Some("second")),
            Standing::Usable,
        ),
        (&["second"], "x://other/b", Err("first"), Standing::Usable),
        (
            &["exact", "first"],
            "x://exact/a",
            Ok(Some("exact")),
            Standing::Usable,
        ),
    ];
    for (scopes, uri, expected, standing) in cases {
        let principal = Principal::user(Issuer::AuthFile, "ann", None);
        let scopes = scopes.iter().map(ToString::to_string).collect();
        let caller = Arc::new(Caller::new(principal).with_scopes(scopes));
        let context = context(Era::Modern, &catalog, &caller);
        let found = resources::find(context.sight(), uri);
        let named = found
            .as_ref()
            .map(|found| found.as_ref().map(|(_, about, _)| &*about.name));
        let expected = expected.map_err(|scope| InsufficientScope::new(&[scope]));
        assert_eq!(
            named,
            expected.as_ref().copied(),
            "{uri} {:?}",
            caller.scopes
        );
        let is_found = expected.is_ok_and(|name| name.is_some());
        assert_eq!(context.sight().has_resource(uri), is_found, "{uri}");
        let told = context.standing(Method::ReadResource, uri);
        assert_eq!(told, standing, "{uri} {:?}", caller.scopes);
    }
}
