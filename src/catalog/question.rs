//! What the user of a client is asked before anything runs: `confirm` and `ask`.
//!
//! An answer to `ask` is a value that the model cannot set: it fills the places of its name as a
//! parameter would, and stands among the arguments that a program reads.

use serde_json::{Map, Value, json};

use super::argument_error::ArgumentError;
use super::content::check_always_filled;
use super::params::Parameters;
use super::schema::read_schema;
use super::template::{Renderer, Word, segments};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Content, Entry};

/// The key of the question that `confirm` asks.
const CONFIRM: &str = "confirm";

/// What one entry of `ask` may say.
const ASK_KEYS: &[&str] = &["message", "schema"];
/// The keywords that a form understands, by type (MCP, Elicitation, Requested Schema). An array is a
/// choice of several.
const FORM_KEYWORDS: &[(&str, &[&str])] = &[
    (
        "string",
        &[
            "minLength",
            "maxLength",
            "pattern",
            "format",
            "enum",
            "enumNames",
            "oneOf",
        ],
    ),
    ("number", &["minimum", "maximum"]),
    ("integer", &["minimum", "maximum"]),
    ("boolean", &[]),
    ("array", &["items", "minItems", "maxItems"]),
];
/// The keywords that say something of any value.
const COMMON_KEYWORDS: &[&str] = &["type", "title", "description", "default"];

/// What a call does when its client can ask nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// It does not run, the default.
    #[default]
    Deny,
    /// It runs unconfirmed.
    Allow,
}

/// A question to the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Its name; that of the value for one that asks for a value.
    pub name: String,
    /// What the user is asked.
    pub message: String,
    /// What the value must satisfy; `None` asks for consent alone.
    pub schema: Option<Value>,
}

impl Question {
    /// The schema of the form that asks it.
    pub fn form(&self) -> Value {
        match &self.schema {
            None => json!({"type": "object", "properties": {}}),
            Some(schema) => json!({
                "type": "object",
                "properties": {&self.name: schema},
                "required": [self.name],
            }),
        }
    }
}

/// The questions of a definition.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    confirm: Option<Word>,
    values: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    name: String,
    message: Word,
    schema: Value,
}

impl Questions {
    /// Reads the questions. Each value that is asked for becomes a parameter.
    pub(crate) fn read(
        confirm: Option<&Entry>,
        ask: Option<&Entry>,
        tool: &str,
        parameters: &mut Parameters,
        report: &mut Report,
    ) -> Self {
        let confirm = confirm.and_then(|entry| message(entry, report));
        let entries = ask.and_then(|entry| reader::mapping(entry, report));
        let mut asked = Vec::new();
        let mut broken = Vec::new();
        for entry in entries.unwrap_or_default() {
            match Asked::read(entry, tool, report) {
                Some(one) => asked.push((entry, one)),
                None => broken.push(entry.key.text.as_str()),
            }
        }
        let messages = confirm
            .iter()
            .chain(asked.iter().map(|(_, one)| &one.message));
        // Before the values are known by name: a question cannot hold the answer of another.
        check_always_filled(messages.flat_map(Word::slots), tool, parameters, report);
        for name in broken {
            parameters.add_broken(name);
        }
        for (entry, asked) in &asked {
            parameters.add_asked(entry, asked.schema.clone(), report);
        }
        Self {
            confirm,
            values: asked.into_iter().map(|(_, asked)| asked).collect(),
        }
    }

    /// True if nothing is asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.confirm.is_none() && self.values.is_empty()
    }

    /// True if the call gets values from the answers.
    pub(crate) fn give_values(&self) -> bool {
        !self.values.is_empty()
    }

    /// The questions of one call.
    pub(crate) fn render(
        &self,
        mut renderer: Renderer<'_>,
    ) -> Result<Vec<Question>, ArgumentError> {
        let confirm = self.confirm.iter().map(|message| (CONFIRM, message, None));
        let values = self.values.iter();
        let values = values.map(|asked| (asked.name.as_str(), &asked.message, Some(&asked.schema)));
        let questions = confirm
            .chain(values)
            .map(|(name, message, schema)| Question {
                name: name.to_owned(),
                message: renderer.content(message),
                schema: schema.cloned(),
            });
        let questions = questions.collect();
        renderer.finish()?;
        Ok(questions)
    }

    /// The arguments with the values that were asked for: each from the form of its question, in
    /// their order.
    pub(crate) fn fill(&self, arguments: &mut Map<String, Value>, forms: &[Value]) {
        let forms = forms.iter().skip(usize::from(self.confirm.is_some()));
        for (asked, form) in self.values.iter().zip(forms) {
            if let Some(value) = form.get(&asked.name) {
                arguments.insert(asked.name.clone(), value.clone());
            }
        }
    }
}

impl Asked {
    fn read(entry: &Entry, tool: &str, report: &mut Report) -> Option<Self> {
        let entries = reader::mapping(entry, report)?;
        let name = &entry.key.text;
        let (mut text, mut schema) = (None, None);
        for entry in entries {
            match entry.key.text.as_str() {
                "message" => text = Some(message(entry, report)?),
                "schema" => schema = Some(form_schema(entry, tool, report)?),
                _ => reader::unknown_key(entry, &format!("`{name}` of `ask`"), ASK_KEYS, report),
            }
        }
        if text.is_none() {
            let problem = format!("`{name}` of `ask` has no `message`");
            let problem = Problem::error(Code::Value, entry.key.span, problem);
            report.add(problem.help("say what the user is asked"));
        }
        Some(Self {
            name: name.clone(),
            message: text?,
            schema: schema.unwrap_or_else(|| json!({"type": "string"})),
        })
    }
}

/// Reads a text with placeholders.
fn message(entry: &Entry, report: &mut Report) -> Option<Word> {
    let text = reader::text(entry, report)?;
    if text.trim().is_empty() {
        reader::wrong_value(entry, "what the user is asked", report);
        return None;
    }
    entry.value.scalar().map(|scalar| segments(scalar, report))
}

/// Reads the schema of a value that a form can ask for.
fn form_schema(entry: &Entry, tool: &str, report: &mut Report) -> Option<Value> {
    if !matches!(entry.value.content, Content::Mapping(_)) {
        reader::wrong_value(entry, "a JSON Schema", report);
        return None;
    }
    let schema = read_schema(entry, tool, report)?;
    let unfit = |message: String| Problem::error(Code::Schema, entry.place(), message);
    let kind = schema.get("type").and_then(Value::as_str);
    let known = FORM_KEYWORDS.iter().find(|(name, _)| Some(*name) == kind);
    let Some((kind, keywords)) = known else {
        let problem = unfit("a form asks for a text, a number, a boolean or a choice".to_owned());
        let types: Vec<_> = FORM_KEYWORDS.iter().map(|(name, _)| *name).collect();
        let types = reader::listed(&types);
        report.add(problem.help(format!("give the schema one of the types {types}")));
        return None;
    };
    let is_known =
        |key: &&String| COMMON_KEYWORDS.contains(&key.as_str()) || keywords.contains(&key.as_str());
    let mut members = schema.as_object().into_iter().flat_map(Map::keys);
    if let Some(other) = members.find(|key| !is_known(key)) {
        let problem = unfit(format!("a form cannot ask for `{other}`"));
        let help = match *keywords {
            [] => format!("a `{kind}` has nothing but `title`, `description` and `default`"),
            keywords => format!("a `{kind}` can have {}", reader::listed(keywords)),
        };
        report.add(problem.help(help));
        return None;
    }
    if *kind == "array" && !is_choice(&schema) {
        let problem = unfit("a form can ask for several values only as a choice".to_owned());
        report.add(problem.help("list them: `items: {type: string, enum: [a, b]}`"));
        return None;
    }
    Some(schema)
}

/// Whether the items of an array are some of a few texts.
fn is_choice(schema: &Value) -> bool {
    let items = schema.get("items");
    let lists = |keyword: &str| items.and_then(|items| items.get(keyword)?.as_array());
    lists("enum").is_some() || lists("anyOf").is_some()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::auth::{Caller, Principal};
    use crate::catalog::{Catalog, Environment, Work};

    #[test]
    fn a_call_is_asked_about_and_filled_in() {
        let text = "
tools:
  wipe:
    description: d
    exec: /bin/echo {name} --reason={why} --times={times}
    params: {name: string}
    confirm: Delete {name}?
    ask:
      why: {message: 'Why {name}?'}
      times: {message: How often?, schema: {type: integer, minimum: 1}}
";
        let environment = Environment::default();
        let loaded = Catalog::parse(text, Path::new("tools.yaml"), &environment).unwrap();
        let tool = loaded.catalog.tool("wipe").unwrap();
        assert_eq!(
            tool.input_schema()["properties"],
            json!({"name": {"type": "string"}})
        );
        let none = json!({"name": "x", "why": "the model says so"});
        let caller = Caller::new(Principal::Anonymous);
        assert!(tool.arguments(none.as_object().cloned(), &caller).is_err());
        let arguments = tool
            .arguments(json!({"name": "x"}).as_object().cloned(), &caller)
            .unwrap();
        let questions = tool.questions(&arguments, &caller).unwrap();
        let shown: Vec<_> = (questions.iter())
            .map(|question| {
                (
                    question.name.as_str(),
                    question.message.as_str(),
                    question.form(),
                )
            })
            .collect();
        let form = |name: &str, schema: Value| json!({"type": "object", "properties": {name: schema}, "required": [name]});
        assert_eq!(
            shown,
            [
                (
                    "confirm",
                    "Delete x?",
                    json!({"type": "object", "properties": {}})
                ),
                ("why", "Why x?", form("why", json!({"type": "string"}))),
                (
                    "times",
                    "How often?",
                    form("times", json!({"type": "integer", "minimum": 1}))
                ),
            ]
        );
        let forms = [
            json!({}),
            json!({"why": "-"}),
            json!({"times": 3, "name": "other"}),
        ];
        let filled = tool.filled(&arguments, &forms);
        let Ok(Work::Run(command)) = tool.work(&filled, &caller) else {
            panic!("a command");
        };
        assert_eq!(command.arguments, ["x", "--reason=-", "--times=3"]);
    }
}
