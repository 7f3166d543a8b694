//! Rules between parameters, and values that come from the caller.

use serde_json::{Value, json};

use super::{anonymous, parse, tool};
use crate::auth::{Caller, Issuer, Principal};

const GET: &str = "[--namespace={namespace}] [all? --all] [{names...}] [--sort={sort}]";
const PARAMS: &str = "{namespace: optional string, all: boolean = false, names: string..., \
                      sort: {type: [string, 'null'], optional: true}}\n    exclusive: [[namespace, all], [all, names]]\n    \
                      requires: {sort: [namespace], names: namespace}";

#[test]
fn rules_between_parameters_hold_and_are_explained() {
    let tool = tool(GET, PARAMS);
    let cases: &[(&str, Value, &str)] = &[
        ("nothing", json!({}), ""),
        ("one", json!({"namespace": "a"}), ""),
        (
            "false is absent",
            json!({"namespace": "a", "all": false}),
            "",
        ),
        (
            "an empty array is absent",
            json!({"all": true, "names": []}),
            "",
        ),
        ("null is absent", json!({"sort": null}), ""),
        (
            "both",
            json!({"namespace": "a", "all": true}),
            "\n- /all: cannot be given together with `namespace`",
        ),
        (
            "two of another list",
            json!({"all": true, "names": ["x"]}),
            "\n- /names: cannot be given together with `all`\n- /namespace: is required together with `names`",
        ),
        (
            "what is needed is missing",
            json!({"sort": "name"}),
            "\n- /namespace: is required together with `sort`",
        ),
    ];
    // What clients are shown says the same, which they check with a validator of their own.
    let shown = Value::Object(tool.input_schema().clone());
    let validator = jsonschema::validator_for(&shown).unwrap();
    for (name, arguments, expected) in cases {
        let error = tool.arguments(arguments.as_object().cloned(), &anonymous());
        let found = error
            .err()
            .map_or_else(String::new, |error| error.to_string());
        let found = found.strip_prefix("the arguments are not valid; correct them and call again");
        assert_eq!(found.unwrap_or_default(), *expected, "{name}");
        assert_eq!(validator.is_valid(arguments), expected.is_empty(), "{name}");
    }
}

#[test]
fn rules_are_shown_in_their_shortest_form() {
    let tool = tool(
        "[--a={a}] [--b={b}] [c? -c]",
        "{a: optional string, b: optional string, c: boolean = false}\n    exclusive: [a, c]\n    requires: {a: [b], b: [a]}",
    );
    let schema = tool.input_schema();
    assert_eq!(
        schema["allOf"],
        json!([{"not": {"required": ["a", "c"], "properties": {"c": {"const": true}}}}])
    );
    assert_eq!(schema["dependentRequired"], json!({"a": ["b"], "b": ["a"]}));
}

const BOUND: &str = "
tools:
  t:
    description: d
    exec: /bin/echo {who} [--tenant={tenant}] [--email={email}] [--scopes {scopes...}] --level={level} --text={text}
    stdin: json
    params:
      who: {from: caller.subject, maxLength: 5}
      tenant: {from: caller.tenant, optional: true}
      email: {from: claims.email, type: string, optional: true}
      scopes: {from: caller.scopes, type: array, items: {type: string}}
      level: {from: claims.level, type: integer, default: 1}
      text: string
";

fn caller(subject: &str) -> Caller {
    Caller::new(Principal::user(Issuer::AuthFile, subject, None))
}

#[test]
fn bound_values_come_from_the_caller_alone() {
    let catalog = parse(BOUND).unwrap();
    let tool = catalog.tool("t").unwrap();
    assert_eq!(
        tool.input_schema()["properties"],
        json!({"text": {"type": "string"}})
    );
    assert_eq!(tool.input_schema()["required"], json!(["text"]));

    let mut alice = caller("alice").with_scopes(vec!["read".to_owned(), "write".to_owned()]);
    alice
        .claims
        .insert("email".to_owned(), json!("alice@example.com"));
    alice.claims.insert("level".to_owned(), json!(3));
    let with_tenant = Principal::user(Issuer::AuthFile, "bob", Some("acme".to_owned()));
    let mut wrong = caller("carol");
    wrong.claims.insert("level".to_owned(), json!("high"));
    let failed = "the arguments are not valid; correct them and call again\n- ";
    let cases: &[(Caller, Result<&str, &str>)] = &[
        (
            alice,
            Ok("alice --email=alice@example.com --scopes read write --level=3 --text=x"),
        ),
        (
            Caller::new(with_tenant),
            Ok("bob --tenant=acme --level=1 --text=x"),
        ),
        (
            anonymous(),
            Err(
                "/who: comes from `caller.subject`, which does not exist for this caller; other arguments do not help",
            ),
        ),
        (
            caller("mallory"),
            Err(
                "/who: comes from `caller.subject`, which is not allowed to be what it is for this caller; other arguments do not help",
            ),
        ),
        (
            wrong,
            Err(
                "/level: comes from `claims.level`, which is not allowed to be what it is for this caller; other arguments do not help",
            ),
        ),
    ];
    for (caller, expected) in cases {
        let given = json!({"text": "x"});
        let found = tool.arguments(given.as_object().cloned(), caller);
        let words = found.and_then(|arguments| tool.work(&arguments, caller));
        let words = words.map(|work| {
            let words = work.command().unwrap().arguments;
            words.join(" ".as_ref()).into_string().unwrap()
        });
        let words = words.map_err(|error| error.to_string().replace(failed, ""));
        assert_eq!(words, expected.map(str::to_owned).map_err(str::to_owned));
    }
    for name in ["who", "tenant", "level"] {
        let given = json!({"text": "x", name: "mine"});
        let refused = tool
            .arguments(given.as_object().cloned(), &caller("bob"))
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("{failed}/{name}: is not an argument of this tool")
        );
    }
}
