//! Random templates and hostile values against an oracle that knows nothing of YAML, schemas or
//! encodings.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{decoded, pairs, request, tool};
use crate::catalog::Request;
use crate::catalog::tests::hostile::{Random, TEMPLATES, VALUES};

/// How a text may begin, and what may stand between its values: of use in a path, a query, a header
/// and JSON.
const LITERALS: [&str; 6] = ["", "", "x", "-", "v1.", "a~b"];

/// A text with placeholders. The first letter of a name is its type: `s` a text that is always there,
/// `o` one that may be absent, `i` an integer.
#[derive(Debug)]
struct Text(Vec<(&'static str, String)>);

/// A value of JSON.
#[derive(Debug)]
enum Json {
    Fixed(Value),
    /// The value of a parameter with its type: also `a`, an array, and `j`, whatever JSON can be.
    Whole(String),
    Text(Text),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// A value of a query or a form.
#[derive(Debug)]
enum Field {
    Text(Text),
    /// Each item of an array.
    Items(String),
}

#[derive(Debug)]
enum Body {
    Json(Json),
    Form(Vec<(String, Field)>),
}

/// What a request is made of.
#[derive(Debug, Default)]
struct Template {
    path: Vec<Text>,
    query: Vec<(String, Field)>,
    headers: Vec<(String, Text)>,
    body: Option<Body>,
}

/// A request taken apart: what a server makes of it.
#[derive(Debug, Default, PartialEq)]
struct Taken {
    path: Vec<String>,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    json: Option<Value>,
    form: Vec<(String, String)>,
}

impl Text {
    fn random(random: &mut Random, kinds: &[char]) -> Self {
        let parts = (0..=random.below(3)).map(|_| {
            let name = format!("{}{}", random.pick(kinds), random.below(4));
            (random.pick(&LITERALS), name)
        });
        Self(parts.collect())
    }

    /// How it is written.
    fn template(&self) -> String {
        let mut template = String::new();
        for (before, name) in &self.0 {
            write!(template, "{before}{{{name}}}").unwrap();
        }
        template
    }

    /// `None` if a value is absent.
    fn filled(&self, arguments: &Map<String, Value>) -> Option<String> {
        let mut filled = String::new();
        for (before, name) in &self.0 {
            let value = arguments.get(name)?;
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            filled.extend([before, value.as_str()]);
        }
        Some(filled)
    }

    /// The same as a part of a path; `None` if it leads elsewhere.
    fn as_segment(&self, arguments: &Map<String, Value>) -> Option<String> {
        let is_bad = |c: char| c.is_control() || c == '/' || c == '\\';
        let is_safe = |text: &str| !["", ".", ".."].contains(&text) && !text.contains(is_bad);
        let mut values = self.0.iter().map(|(_, name)| &arguments[name]);
        let filled = self.filled(arguments)?;
        let all_safe = values.all(|value| value.as_str().is_none_or(is_safe)) && is_safe(&filled);
        all_safe.then_some(filled)
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(_, name)| name)
    }
}

impl Field {
    fn random(random: &mut Random) -> Self {
        match random.below(3) {
            0 => Self::Items(format!("a{}", random.below(4))),
            _ => Self::Text(Text::random(random, &['s', 'o', 'i'])),
        }
    }

    fn template(&self) -> String {
        match self {
            Self::Text(text) => text.template(),
            Self::Items(name) => format!("{{{name}...}}"),
        }
    }

    fn filled(&self, arguments: &Map<String, Value>) -> Vec<String> {
        match self {
            Self::Text(text) => text.filled(arguments).into_iter().collect(),
            Self::Items(name) => {
                let items = arguments[name].as_array().unwrap().iter();
                items
                    .map(|item| item.as_str().unwrap().to_owned())
                    .collect()
            }
        }
    }

    fn names(&self) -> Vec<&String> {
        match self {
            Self::Text(text) => text.names().collect(),
            Self::Items(name) => vec![name],
        }
    }
}

fn fields(random: &mut Random) -> Vec<(String, Field)> {
    let fields = (0..=random.below(4)).map(|at| (format!("f{at}&"), Field::random(random)));
    fields.collect()
}

fn filled(fields: &[(String, Field)], arguments: &Map<String, Value>) -> Vec<(String, String)> {
    let filled = fields.iter().flat_map(|(name, field)| {
        let values = field.filled(arguments).into_iter();
        values.map(|value| (name.clone(), value))
    });
    filled.collect()
}

fn written(fields: &[(String, Field)]) -> Value {
    let written = fields
        .iter()
        .map(|(name, field)| (name.clone(), json!(field.template())));
    Value::Object(written.collect())
}

impl Json {
    fn random(random: &mut Random, depth: usize) -> Self {
        match random.below(if depth == 0 { 5 } else { 8 }) {
            0 => Self::Fixed(
                [json!(null), json!(7), json!("a \"b\""), json!({})][random.below(4)].clone(),
            ),
            1..=2 => {
                let kind = random.pick(&['s', 'o', 'i', 'a', 'j', 'j']);
                Self::Whole(format!("{kind}{}", random.below(4)))
            }
            3..=4 => {
                let mut text = Text::random(random, &['s', 'o', 'i']);
                // One value alone would keep its type.
                text.0[0].0 = "\"}, ";
                Self::Text(text)
            }
            5 => Self::Array((0..3).map(|_| Self::random(random, depth - 1)).collect()),
            _ => {
                let members =
                    (0..3).map(|at| (format!("m{at}\""), Self::random(random, depth - 1)));
                Self::Object(members.collect())
            }
        }
    }

    fn template(&self) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Whole(name) => json!(format!("{{{name}}}")),
            Self::Text(text) => json!(text.template()),
            Self::Array(items) => items.iter().map(Self::template).collect(),
            Self::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, value)| (name.clone(), value.template()));
                Value::Object(members.collect())
            }
        }
    }

    fn filled(&self, arguments: &Map<String, Value>) -> Option<Value> {
        Some(match self {
            Self::Fixed(value) => value.clone(),
            Self::Whole(name) => arguments.get(name)?.clone(),
            Self::Text(text) => json!(text.filled(arguments)?),
            Self::Array(items) => items
                .iter()
                .filter_map(|item| item.filled(arguments))
                .collect(),
            Self::Object(members) => {
                let members = members
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), value.filled(arguments)?)));
                Value::Object(members.collect())
            }
        })
    }

    /// Whether a text in it cannot be sent. A value of its own can hold anything.
    fn is_refused(&self, arguments: &Map<String, Value>) -> bool {
        match self {
            Self::Fixed(_) | Self::Whole(_) => false,
            Self::Text(text) => text
                .filled(arguments)
                .is_some_and(|text| text.contains('\0')),
            Self::Array(items) => items.iter().any(|item| item.is_refused(arguments)),
            Self::Object(members) => {
                let mut values = members.iter().map(|(_, value)| value);
                values.any(|value| value.is_refused(arguments))
            }
        }
    }

    fn names(&self) -> Vec<&String> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::Whole(name) => vec![name],
            Self::Text(text) => text.names().collect(),
            Self::Array(items) => items.iter().flat_map(Self::names).collect(),
            Self::Object(members) => members
                .iter()
                .flat_map(|(_, value)| value.names())
                .collect(),
        }
    }
}

impl Template {
    fn names(&self) -> BTreeSet<&String> {
        let mut names: BTreeSet<_> = self.path.iter().flat_map(Text::names).collect();
        names.extend(self.query.iter().flat_map(|(_, field)| field.names()));
        names.extend(self.headers.iter().flat_map(|(_, text)| text.names()));
        match &self.body {
            Some(Body::Json(json)) => names.extend(json.names()),
            Some(Body::Form(form)) => {
                names.extend(form.iter().flat_map(|(_, field)| field.names()));
            }
            None => {}
        }
        names
    }

    /// The whole definition.
    fn definition(&self) -> String {
        let mut path = vec!["/one".to_owned()];
        path.extend(self.path.iter().map(Text::template));
        let headers = self
            .headers
            .iter()
            .map(|(name, text)| (name.clone(), json!(text.template())));
        let mut http = json!({
            "api": "a",
            "POST": path.join("/"),
            "query": written(&self.query),
            "headers": Value::Object(headers.collect()),
        });
        match &self.body {
            Some(Body::Json(json)) => http["json"] = json.template(),
            Some(Body::Form(form)) => http["form"] = written(form),
            None => {}
        }
        let kind = |name: &String| match name.as_bytes()[0] {
            b's' => json!("string"),
            b'o' => json!("optional string"),
            b'i' => json!("integer"),
            b'a' => json!("string..."),
            _ => json!({"optional": true}),
        };
        let params = self
            .names()
            .into_iter()
            .map(|name| (name.clone(), kind(name)));
        let params = Value::Object(params.collect());
        json!({
            "apis": {"a": {"base_url": "https://a.example.com:8443/base/"}},
            "tools": {"t": {"description": "d", "http": http, "params": params}},
        })
        .to_string()
    }

    /// The request that is meant; `None` if the call must be refused.
    fn expected(&self, arguments: &Map<String, Value>) -> Option<Taken> {
        let segments = self.path.iter().map(|text| text.as_segment(arguments));
        let segments: Option<Vec<_>> = segments.collect();
        let fixed = ["base", "one"].map(str::to_owned);
        let mut headers = Vec::new();
        for (name, text) in &self.headers {
            let Some(value) = text.filled(arguments) else {
                continue;
            };
            let is_sent = value
                .bytes()
                .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
                && value.trim_matches([' ', '\t']) == value;
            headers.push(is_sent.then(|| (name.clone(), value))?);
        }
        let (mut json, mut form) = (None, Vec::new());
        match &self.body {
            Some(Body::Json(body)) if body.is_refused(arguments) => return None,
            Some(Body::Json(body)) => json = Some(body.filled(arguments).unwrap_or_default()),
            Some(Body::Form(body)) => form = filled(body, arguments),
            None => {}
        }
        let query = filled(&self.query, arguments);
        let mut texts = query.iter().chain(&form).map(|(_, text)| text);
        if texts.any(|text| text.contains('\0')) {
            return None;
        }
        Some(Taken {
            path: fixed.into_iter().chain(segments?).collect(),
            query,
            headers,
            json,
            form,
        })
    }
}

/// Takes a request apart, and checks what no template says anything of.
fn taken(request: &Request) -> Taken {
    let url = &request.url;
    assert_eq!(request.method, http::Method::POST);
    assert_eq!(
        url.origin().ascii_serialization(),
        "https://a.example.com:8443"
    );
    assert_eq!(
        (url.username(), url.password(), url.fragment()),
        ("", None, None)
    );
    let headers = request
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-"));
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
    let headers: Vec<_> = headers.collect();
    let others = request.headers.len() - headers.len();
    assert_eq!(others, 2 + usize::from(request.body.is_some()));
    let body = request.body.as_deref();
    let kind = request.headers.get("content-type");
    let (mut json, mut form) = (None, Vec::new());
    match kind.map(|kind| kind.to_str().unwrap()) {
        Some("application/json") => json = serde_json::from_str(body.unwrap()).ok(),
        Some("application/x-www-form-urlencoded") => form = pairs(body.unwrap()),
        kind => assert_eq!((kind, body), (None, None)),
    }
    Taken {
        path: url.path_segments().unwrap().map(decoded).collect(),
        query: pairs(url.query().unwrap_or_default()),
        headers,
        json,
        form,
    }
}

/// Any JSON of some depth, and how many values it holds.
fn any_json(random: &mut Random, depth: usize) -> (Value, usize) {
    let leaves = if depth == 0 { 4 } else { 6 };
    match random.below(leaves) {
        0 => (json!(null), 1),
        1 => (json!(random.next() >> 12), 1),
        2 | 3 => (json!(random.text()), 1),
        4 => {
            let items: Vec<_> = (0..random.below(4))
                .map(|_| any_json(random, depth - 1))
                .collect();
            let count = items.iter().map(|(_, count)| count).sum();
            (items.into_iter().map(|(item, _)| item).collect(), count)
        }
        _ => {
            let (mut members, mut all) = (Map::new(), 0);
            for _ in 0..random.below(4) {
                let (value, count) = any_json(random, depth - 1);
                members.insert(random.text(), value);
                all += count + 1;
            }
            (Value::Object(members), all)
        }
    }
}

/// Random arguments for these names, and how many values they hold.
fn arguments(random: &mut Random, names: &BTreeSet<&String>) -> (Map<String, Value>, usize) {
    let (mut arguments, mut all) = (Map::new(), 0);
    for name in names {
        let (value, count) = match name.as_bytes()[0] {
            b'o' | b'j' if random.below(3) == 0 => continue,
            b'i' => (json!(random.next() >> 40), 1),
            b'a' => {
                let items: Vec<_> = (0..random.below(4)).map(|_| random.text()).collect();
                (json!(items), items.len())
            }
            b'j' => any_json(random, 3),
            // So that enough requests of several values are sent.
            _ if random.below(3) > 0 => (json!(random.pick(&["a", "b c", "%2e", "x&y=z"])), 1),
            _ => (json!(random.text()), 1),
        };
        arguments.insert((*name).clone(), value);
        all += count;
    }
    (arguments, all)
}

/// Puts values into templates of one sort. Returns how many were sent and refused.
fn try_all(make: impl Fn(&mut Random) -> Template) -> (usize, usize) {
    let mut random = Random::seeded();
    let seed = random.seed;
    let (mut values, mut sent, mut refused) = (0, 0, 0);
    for at in 1..=TEMPLATES {
        let template = make(&mut random);
        let names = template.names();
        let tool = tool(&template.definition());
        while values < at * VALUES / TEMPLATES {
            let (arguments, count) = arguments(&mut random, &names);
            // A call without values counts too, lest one template goes on for ever.
            values += count.max(1);
            let found = request(&tool, &Value::Object(arguments.clone()));
            let found = found.ok().as_ref().map(taken);
            let expected = template.expected(&arguments);
            sent += usize::from(found.is_some());
            refused += usize::from(found.is_none());
            assert_eq!(
                found, expected,
                "seed {seed}: {template:?} with {arguments:?}"
            );
        }
    }
    (sent, refused)
}

#[test]
fn hostile_values_never_leave_their_place_in_a_url() {
    let (sent, refused) = try_all(|random| Template {
        path: (0..=random.below(3))
            .map(|_| Text::random(random, &['s', 'i']))
            .collect(),
        query: fields(random),
        ..Template::default()
    });
    assert!(sent > 100 && refused > 100, "{sent} {refused}");
}

#[test]
fn hostile_values_add_no_header() {
    let (sent, refused) = try_all(|random| Template {
        headers: (0..=random.below(4))
            .map(|at| (format!("x-h{at}"), Text::random(random, &['s', 'o', 'i'])))
            .collect(),
        ..Template::default()
    });
    assert!(sent > 100 && refused > 100, "{sent} {refused}");
}

#[test]
fn hostile_values_keep_their_type_and_place_in_a_body() {
    let (sent, refused) = try_all(|random| Template {
        body: Some(if random.below(4) == 0 {
            Body::Form(fields(random))
        } else {
            let members = (0..4).map(|at| (format!("top{at}"), Json::random(random, 2)));
            Body::Json(Json::Object(members.collect()))
        }),
        ..Template::default()
    });
    assert!(sent > 100 && refused > 100, "{sent} {refused}");
}
