//! Completion of arguments: from lists, and from programs.

use mcp_serve::protocol::version::Era;
use serde_json::{Value, json};

use crate::support::{Client, ERAS, TestServer, write_script};

const DEFINITIONS: &str = "
prompts:
  deploy:
    description: Deploys.
    text: Deploy {branch} of {project} to {place} with {note}.
    params:
      project: {type: string, enum: [Website, website-api, shop]}
      branch: string
      place: string
      note: string
    complete:
      branch: {exec: './branches.sh -- {value} [{project}]', workdir: .}
      place: {exec: [printf, 'Paris\\nprague\\n\\nRome\\n'], timeout: 5s}
resource_templates:
  number: {uri: 'numbers://{n}', description: d, text: '{n}', complete: {n: {exec: seq 1 250}}}
  broken: {uri: 'broken://{n}', description: d, text: '{n}', complete: {n: {exec: 'false'}}}
";

fn start() -> TestServer {
    TestServer::start_with(DEFINITIONS, &[], |prepare| {
        write_script(
            prepare.folder,
            "branches.sh",
            r#"printf '%s-of-%s\n' "$2" "${3:-all}""#,
        );
    })
}

fn complete(client: &Client, reference: &Value, argument: (&str, &str), chosen: &Value) -> Value {
    let params = json!({
        "ref": reference,
        "argument": {"name": argument.0, "value": argument.1},
        "context": {"arguments": chosen}
    });
    client.request("completion/complete", &params).json()
}

#[test]
fn candidates_fit_what_was_typed() {
    let server = start();
    let deploy = json!({"type": "ref/prompt", "name": "deploy"});
    let none = json!({});
    let chosen = json!({"project": "shop", "unknown": "x"});
    let cases = [
        (
            ("project", ""),
            &none,
            json!(["Website", "website-api", "shop"]),
        ),
        (("project", "WEB"), &none, json!(["Website", "website-api"])),
        (("project", "x"), &none, json!([])),
        (("branch", "main"), &none, json!(["main-of-all"])),
        (("branch", "main"), &chosen, json!(["main-of-shop"])),
        (("place", ""), &none, json!(["Paris", "prague", "Rome"])),
        (("place", "p"), &none, json!(["Paris", "prague"])),
        (("note", "any"), &none, json!([])),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (argument, chosen, expected) in &cases {
            let reply = complete(&client, &deploy, *argument, chosen);
            let completion = &reply["result"]["completion"];
            assert_eq!(
                completion["values"], *expected,
                "{era:?} {argument:?}: {reply}"
            );
            assert_eq!(completion["total"], expected.as_array().unwrap().len());
            assert_eq!(completion["hasMore"], false);
            assert_eq!(
                reply["result"]["resultType"] == "complete",
                era == Era::Modern
            );
        }
    }
}

#[test]
fn an_answer_says_how_much_it_leaves_out() {
    let server = start();
    let numbers = json!({"type": "ref/resource", "uri": "numbers://{n}"});
    for era in ERAS {
        let client = server.client(era);
        let reply = complete(&client, &numbers, ("n", ""), &json!({}));
        let completion = &reply["result"]["completion"];
        assert_eq!(
            completion["values"].as_array().unwrap().len(),
            100,
            "{era:?}"
        );
        assert_eq!(completion["total"], 250);
        assert_eq!(completion["hasMore"], true);
        let reply = complete(&client, &numbers, ("n", "24"), &json!({}));
        assert_eq!(reply["result"]["completion"]["total"], 11);
    }
}

#[test]
fn what_cannot_be_completed_is_an_error() {
    let server = start();
    let deploy = json!({"type": "ref/prompt", "name": "deploy"});
    let broken = json!({"type": "ref/resource", "uri": "broken://{n}"});
    let none = json!({});
    let cases = [
        (
            json!({"type": "ref/prompt", "name": "unknown"}),
            ("project", ""),
            &none,
            -32602,
        ),
        (
            json!({"type": "ref/resource", "uri": "numbers://1"}),
            ("n", ""),
            &none,
            -32602,
        ),
        (
            json!({"type": "ref/tool", "name": "deploy"}),
            ("n", ""),
            &none,
            -32602,
        ),
        (deploy.clone(), ("unknown", ""), &none, -32602),
        (deploy.clone(), ("branch", "a\0b"), &none, -32602),
        (
            deploy,
            ("branch", "a"),
            &json!({"project": "other"}),
            -32602,
        ),
        (broken, ("n", ""), &none, -32603),
    ];
    for era in ERAS {
        let client = server.client(era);
        for (reference, argument, chosen, code) in &cases {
            let reply = complete(&client, reference, *argument, chosen);
            assert_eq!(
                reply["error"]["code"], *code,
                "{era:?} {reference} {argument:?}: {reply}"
            );
        }
    }
}
