//! The schemas against the readers: they know the same keys, and accept the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::*;

/// A key that no table has, and that is near to none.
const NOBODYS: &str = "zzzzzzzzzzzz";

/// For each object a file in which it stands, with a place for the key that nobody has.
const PLACES: &[(&str, &str)] = &[
    ("file", "tools: {}\nKEY: 1"),
    ("defaults", "tools: {}\ndefaults: {KEY: 1}"),
    ("cancel", "tools: {}\ndefaults: {cancel: {KEY: 1}}"),
    (
        "concurrency",
        "tools: {}\ndefaults: {concurrency: {KEY: 1}}",
    ),
    ("output", "tools: {}\ndefaults: {output: {KEY: 1}}"),
    ("sandbox", "tools: {}\ndefaults: {sandbox: {KEY: 1}}"),
    (
        "sandbox_fs",
        "tools: {}\ndefaults: {sandbox: {fs: {KEY: 1}}}",
    ),
    (
        "sandbox_limits",
        "tools: {}\ndefaults: {sandbox: {limits: {KEY: 1}}}",
    ),
    ("progress", "tools: {}\ndefaults: {progress: {KEY: 1}}"),
    ("icon", "tools: {}\nicons: [{KEY: 1}]"),
    ("tool", "tools: {x: {KEY: 1}}"),
    ("script", "tools: {x: {description: X., script: {KEY: 1}}}"),
    (
        "question",
        "tools: {x: {description: X., exec: echo, ask: {v: {KEY: 1}}}}",
    ),
    ("http", "tools: {x: {description: X., http: {KEY: 1}}}"),
    ("api", "tools: {}\napis: {a: {KEY: 1}}"),
    ("auth", "tools: {}\napis: {a: {auth: {KEY: 1}}}"),
    ("basic", "tools: {}\napis: {a: {auth: {basic: {KEY: 1}}}}"),
    ("header", "tools: {}\napis: {a: {auth: {header: {KEY: 1}}}}"),
    ("oauth2", "tools: {}\napis: {a: {auth: {oauth2: {KEY: 1}}}}"),
    ("tls", "tools: {}\napis: {a: {tls: {KEY: 1}}}"),
    ("prompt", "prompts: {x: {KEY: 1}}"),
    (
        "message",
        "prompts: {x: {description: X., messages: [{KEY: 1}]}}",
    ),
    (
        "candidates",
        "prompts: {x: {description: X., text: \"{a}\", params: {a: string}, complete: {a: {KEY: 1}}}}",
    ),
    ("resource", "resources: {x: {KEY: 1}}"),
    ("template", "resource_templates: {x: {KEY: 1}}"),
    (
        "annotations",
        "resources: {x: {description: X., uri: \"a://b\", text: x, annotations: {KEY: 1}}}",
    ),
    ("toolset", "tools: {}\ntoolsets: {x: {KEY: 1}}"),
    ("test", "tools: {}\ntests: [{KEY: 1}]"),
    ("caller", "tools: {}\ntests: [{as: {KEY: 1}}]"),
    ("expectation", "tools: {}\ntests: [{expect: {KEY: 1}}]"),
    ("text", "tools: {}\ntests: [{expect: {text: {KEY: 1}}}]"),
];

/// What the reader says that it knows at a place; `None` if it knows no such place.
fn known_by_reader(file: &str) -> Option<BTreeSet<String>> {
    let file = file.replace("KEY", NOBODYS);
    let environment = [("PATH", "/usr/bin:/bin")].into_iter().collect();
    let path = Path::new("tools.yaml");
    let error = crate::Catalog::parse(&file, path, &environment).unwrap_err();
    let mut diagnostics = error.diagnostics().iter();
    let unknown = diagnostics.find(|diagnostic| diagnostic.message().contains(NOBODYS))?;
    let help = unknown.help().unwrap_or_default();
    let words = help.split('`').skip(1).step_by(2);
    Some(words.map(str::to_owned).collect())
}

fn definitions(schema: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let keys = |object: &Value| {
        let properties = object["properties"].as_object();
        properties.map(|all| all.keys().cloned().collect())
    };
    let inner = schema["$defs"].as_object().unwrap().iter();
    let mut all: BTreeMap<_, _> = inner
        .filter_map(|(name, object)| Some((name.clone(), keys(object)?)))
        .collect();
    all.insert("file".to_owned(), keys(schema).unwrap());
    all
}

#[test]
fn the_schema_has_the_keys_that_the_reader_has() {
    let schema = definitions(&tools_schema());
    let mut seen = 0;
    for (name, file) in PLACES {
        let Some(known) = known_by_reader(file) else {
            continue;
        };
        let described = schema.get(*name).unwrap_or_else(|| panic!("no {name}"));
        let missing: Vec<_> = known.difference(described).collect();
        assert!(missing.is_empty(), "{name}: the schema lacks {missing:?}");
        seen += 1;
    }
    assert!(seen > 15, "the reader has {seen} of these places");
    let places: BTreeSet<_> = PLACES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let objects: BTreeSet<_> = schema
        .into_keys()
        .filter(|name| name != "parameter")
        .collect();
    assert_eq!(places, objects, "every object has its place here");
}

fn json_of(text: &str) -> Value {
    use crate::document::diagnostic::{Report, Source};
    use crate::document::yaml::{self, Advice};
    const ADVICE: Advice = Advice {
        empty: "",
        second_document: "",
        merge_key: "",
        too_large: "",
    };
    let mut report = Report::new(Source::new(Path::new("x.yaml"), text.to_owned()));
    let source = std::sync::Arc::clone(report.sources().root());
    let parsed = yaml::parse(&source, &mut yaml::Size::default(), &ADVICE, &mut report);
    let (root, _) = parsed.unwrap_or_else(|| panic!("{report:?}"));
    root.json().unwrap()
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .build(schema)
        .unwrap()
}

fn assert_valid(validator: &jsonschema::Validator, name: &str, text: &str) {
    let value = json_of(text);
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}\n{}", errors.join("\n"));
}

/// The YAML files in a folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    files
}

/// The YAML blocks of a document.
fn blocks(file: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let parts = text.split("```yaml\n").skip(1);
    parts
        .map(|part| part.split("\n```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn what_is_served_is_valid_for_an_editor() {
    let tools = validator(&tools_schema());
    let auth = validator(&auth_schema());
    let mut seen = 0;
    let mut names = files("tests/it/tools/valid");
    names.extend(files("examples"));
    names.extend(files("tests/it/auth/valid"));
    names.extend(["tools.yaml", "src/command/init/tools.yaml"].map(PathBuf::from));
    let read = names.into_iter().map(|name| {
        let text = fs::read_to_string(&name).unwrap();
        (name.display().to_string(), text)
    });
    let documents = ["README.md", "docs/tools-yaml.md", "docs/auth.md"];
    let shown = documents.into_iter().flat_map(|name| {
        blocks(name)
            .into_iter()
            .map(move |text| (name.to_owned(), text))
    });
    for (name, text) in read.chain(shown) {
        let sections = ["tokens", "jwt", "introspection", "anonymous"];
        let of_auth = sections
            .iter()
            .any(|name| json_of(&text).get(name).is_some());
        assert_valid(if of_auth { &auth } else { &tools }, &name, &text);
        seen += 1;
    }
    assert!(seen > 40, "{seen} files and blocks");
}

#[test]
fn the_examples_of_the_contract_are_valid_for_an_editor() {
    let text = r#"
include: [tools.d/*.yaml]
secrets: {token: "${file:/run/secrets/token}"}
apis:
  tracker:
    base_url: https://tracker.example.com
    auth: {oauth2: {token_url: "https://id.example.com/token", client_id: me, client_secret: "${secret:token}", scopes: [a]}}
    tls: {ca: ca.pem}
    redirects: same_origin
tools:
  issue_create:
    description: Open an issue.
    effect: write
    confirm: Create "{title}" in {project}?
    allow: ["scope:issues:write", ["role:a", "tenant:b"]]
    rate: 30/min
    http:
      api: tracker
      POST: /projects/{project}/issues
      query: {q: "{title}"}
      headers: {X-Subject: "{caller.subject}"}
      json: {title: "{title}", body: "{body}", labels: "{labels}", reporter: "{reporter}"}
    params:
      project: string
      title: {type: string, maxLength: 200}
      body: optional string
      labels: string...
      reporter: {from: claims.email}
  db_backup:
    description: Back up one database.
    exec: /opt/jobs/backup.sh --db={db} {spec}
    params: {db: {enum: [orders, billing]}, spec: {type: path, root: /srv}}
    exclusive: [db, spec]
    requires: {db: [spec]}
    files: {spec.yaml: "{db}"}
    timeout: 2h
    concurrency: {max: 1, queue: 0, key: "{db}"}
    progress: {from: stderr, match: '(?<done>\d+)/(?<total>\d+) (?<message>.*)'}
    cancel: {signal: TERM, grace: 30s}
    output: {type: json, select: ".items", stderr: never, on_overflow: error}
    exit: {3: "Unknown customer.", 1: ok}
  run:
    description: Runs a script.
    script: {shell: bash, run: "echo \"$INPUT_NS\""}
    concurrency: 4
toolsets:
  ops: {match: "tag:ops", allow: [role:ops], title: Operations}
"#;
    assert_valid(&validator(&tools_schema()), "contract", text);
}

#[test]
fn slips_are_marked_by_an_editor() {
    let tools = validator(&tools_schema());
    let cases = [
        "tool: {}",
        "tools: []",
        "tools: {x: {exec: echo}}",
        "tools: {x: {description: X.}}",
        "tools: {x: {description: X., exec: echo, content: hi}}",
        "tools: {x: {description: X., exce: echo}}",
        "tools: {x: {description: X., exec: echo, timeout: 20sec}}",
        "tools: {x: {description: X., exec: echo, max_output: 2MB}}",
        "tools: {x: {description: X., exec: echo, effect: reads}}",
        "tools: {x: {description: X., exec: echo, allow: [admin]}}",
        "tools: {x: {description: X., exec: echo, params: {a: text}}}",
        "tools: {x: {description: X., exec: echo, messages: maybe}}",
        "tools: {x y: {description: X., exec: echo}}",
        "tools: {x: {description: X., http: {api: a, GET: /a, POST: /b}}}",
        "resources: {x: {description: X., text: x}}",
        "tests: [{arguments: {}}]",
        "version: 2",
    ];
    for text in cases {
        assert!(!tools.is_valid(&json_of(text)), "{text}");
    }
    let auth = validator(&auth_schema());
    let cases = [
        "tokens: [{subject: a}]",
        "tokens: [{sha256: 12, subject: a}]",
        "jwt: [{audience: a}]",
        "jwt: [{issuer: a, audience: a, algorithms: [HS256]}]",
        "introspection: [{url: a, client_id: b}]",
        "anonymous: {}",
    ];
    for text in cases {
        assert!(!auth.is_valid(&json_of(text)), "{text}");
    }
}

/// For each object of the auth file a file in which it stands.
const AUTH_PLACES: &[(&str, &str)] = &[
    ("auth file", "KEY: 1"),
    ("token", "tokens: [{KEY: 1}]"),
    ("issuer", "jwt: [{KEY: 1}]"),
    ("introspection", "introspection: [{KEY: 1}]"),
    ("claims", "jwt: [{claims: {KEY: 1}}]"),
    ("anonymous", "anonymous: {KEY: 1}"),
];

#[test]
fn the_keys_of_the_auth_file_are_those_of_the_reader() {
    let schema = auth_schema();
    let described = schema["$defs"].as_object().unwrap().iter();
    let described = described.filter(|(_, object)| object.get("properties").is_some());
    assert_eq!(described.count(), AUTH_PLACES.len() - 1);
    for (name, file) in AUTH_PLACES {
        let file = crate::secret::Secret::new(file.replace("KEY", NOBODYS));
        let path = Path::new("auth.yaml");
        let around = crate::auth::Surroundings::default();
        let now = SystemTime::UNIX_EPOCH;
        let read = crate::auth::Authenticator::auth_file(&file, path, &around, now);
        let error = read.unwrap_err().to_string();
        let object = schema["$defs"].get(name).unwrap_or(&schema);
        for key in object["properties"].as_object().unwrap().keys() {
            assert!(error.contains(&format!("`{key}`")), "{name} {key}: {error}");
        }
    }
}
