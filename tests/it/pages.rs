//! Lists come in pages of `--page-size`.

use serde_json::{Value, json};

use crate::support::{Client, ERAS, TestServer, text};

const LISTS: [(&str, &str); 4] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

/// Five things of each kind, `a` to `e`.
fn definitions() -> String {
    let all = |of: &str| -> String {
        let each = ["a", "b", "c", "d", "e"]
            .map(|name| format!("  {name}: {{description: d, {}}}\n", of.replace('%', name)));
        each.concat()
    };
    format!(
        "tools:\n{}prompts:\n{}resources:\n{}resource_templates:\n{}",
        all("exec: /bin/true"),
        all("text: t"),
        all("uri: 'x:%', text: t"),
        all("uri: 'x:%/{v}', text: '{v}'"),
    )
}

/// The names on each page, in one text.
fn pages(client: &Client, method: &str, key: &str) -> Vec<String> {
    let mut pages = Vec::new();
    let mut params = json!({});
    loop {
        let reply = client.request(method, &params).json();
        let items = reply["result"][key].as_array().unwrap();
        pages.push(items.iter().map(|item| text(&item["name"])).collect());
        match &reply["result"]["nextCursor"] {
            Value::Null => return pages,
            cursor => params = json!({"cursor": cursor}),
        }
    }
}

#[test]
fn every_list_comes_in_pages() {
    let server = TestServer::start(&definitions(), &["--page-size", "2"]);
    for era in ERAS {
        let client = server.client(era);
        for (method, key) in LISTS {
            let pages = pages(&client, method, key);
            assert_eq!(pages, ["ab", "cd", "e"], "{era:?} {method}");
        }
    }
}

#[test]
fn a_cursor_is_for_one_list_of_one_file() {
    let server = TestServer::start(&definitions(), &["--page-size", "2"]);
    let same = TestServer::start(&definitions(), &["--page-size", "3"]);
    let other = TestServer::start(
        &definitions().replace("  e:", "  f:"),
        &["--page-size", "2"],
    );
    for era in ERAS {
        let cursor = |method: &str| {
            let reply = server.client(era).request(method, &json!({})).json();
            json!({"cursor": reply["result"]["nextCursor"]})
        };
        for (method, key) in LISTS {
            let cursor = cursor(method);
            let reply = same.client(era).request(method, &cursor).json();
            assert_eq!(
                reply["result"][key][0]["name"], "c",
                "{era:?} {method}: {reply}"
            );
            for (another, _) in LISTS.iter().filter(|(another, _)| *another != method) {
                let reply = server.client(era).request(another, &cursor).json();
                assert_eq!(reply["error"]["code"], -32602, "{era:?} {method} {another}");
            }
        }
        let reply = other
            .client(era)
            .request("tools/list", &cursor("tools/list"))
            .json();
        assert_eq!(reply["error"]["code"], -32602, "{era:?}");
    }
}

#[test]
fn all_is_on_one_page_unless_there_is_very_much() {
    let server = TestServer::start(&definitions(), &[]);
    for era in ERAS {
        assert_eq!(
            pages(&server.client(era), "tools/list", "tools"),
            ["abcde"],
            "{era:?}"
        );
    }
}
