//! Filling a template with the arguments of one call.

mod parts;

use std::ffi::OsString;

use serde_json::{Map, Value};

use super::{Group, Item, Segment, Slot, Template, Word};
use crate::auth::Caller;
use crate::catalog::argument_error::{ArgumentError, Violation};
use crate::catalog::exec::Placed;
use crate::catalog::params::{Kind, Parameters};

/// The longest word that is passed on, in bytes. Linux takes 128 KiB for one argument or variable,
/// its name and terminator included.
const MAX_WORD: usize = 120 * 1024;
/// The most that arguments and environment may take together, in bytes. Linux allows a quarter of
/// the stack limit, commonly 2 MiB; half of that leaves room for what the program starts in turn.
const MAX_TOTAL: usize = 1024 * 1024;
/// The most that the files of one call may hold together, in bytes: 16 MiB, some times what a
/// request can bring.
const MAX_FILES: usize = 16 * 1024 * 1024;
/// What the kernel counts for each string besides its bytes: a terminator and a pointer.
const PER_STRING: usize = 1 + size_of::<usize>();
/// Integers beyond this lose digits in a floating-point number.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Renders words and variables, and collects what is wrong with the arguments.
#[derive(Debug)]
pub(crate) struct Renderer<'a> {
    parameters: &'a Parameters,
    arguments: &'a Map<String, Value>,
    caller: &'a Caller,
    /// What `{file:…}` stands for.
    files: Option<Placed<'a>>,
    /// How many literal `--` are still to come before what follows cannot be an option.
    separators: usize,
    total: usize,
    /// How many bytes the files hold so far.
    in_files: usize,
    violations: Vec<Violation>,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(
        parameters: &'a Parameters,
        arguments: &'a Map<String, Value>,
        caller: &'a Caller,
    ) -> Self {
        Self {
            parameters,
            arguments,
            caller,
            files: None,
            separators: 1,
            total: 0,
            in_files: 0,
            violations: Vec::new(),
        }
    }

    /// The same, where the definition has files.
    #[must_use]
    pub(crate) fn with_files(self, files: Option<Placed<'a>>) -> Self {
        Self { files, ..self }
    }

    /// Renders the arguments of the program, without the program itself.
    pub(crate) fn words(&mut self, template: &Template) -> Vec<OsString> {
        let mut words = Vec::new();
        self.separators = template.separators;
        for item in template.items.iter().skip(1) {
            match item {
                Item::Word(word) => self.word(word, &mut words),
                Item::Group(group) if self.is_kept(group) => {
                    for word in &group.words {
                        self.word(word, &mut words);
                    }
                }
                Item::Group(_) => {}
            }
        }
        words
    }

    /// Renders the value of a variable; `None` leaves it unset, because a parameter is absent.
    pub(crate) fn variable(&mut self, word: &Word) -> Option<OsString> {
        if !word.slots().all(|slot| self.is_present(slot)) {
            return None;
        }
        Some(self.text(word).into())
    }

    /// Renders a parameter as a variable of its own; `None` leaves it unset, because it is absent.
    pub(crate) fn input(&mut self, parameter: &str) -> Option<OsString> {
        let value = self.arguments.get(parameter)?;
        if value.is_null() {
            return None;
        }
        let kind = self.parameters.get(parameter).map(|p| p.kind);
        match text_of(value, kind.unwrap_or(Kind::Unknown)) {
            Ok(text) if text.len() > MAX_WORD => self.violate(parameter, None, SIZE_RULE),
            Ok(text) => return Some(text.into()),
            Err(rule) => self.violate(parameter, None, rule),
        }
        None
    }

    /// Renders what a file holds; `None` leaves the file out, because a parameter is absent.
    pub(crate) fn file(&mut self, word: &Word) -> Option<String> {
        if !self.is_written(word) {
            return None;
        }
        let mut text = String::new();
        for segment in &word.segments {
            match segment {
                Segment::Literal(literal) => text.push_str(literal),
                Segment::Value(slot) | Segment::Spread(slot) if self.is_given(slot) => {
                    text.push_str(&self.slot(slot));
                }
                Segment::Value(_) | Segment::Spread(_) => text.push_str("[]"),
            }
            if self.in_files + text.len() > MAX_FILES {
                self.refuse(word, "makes the files larger than 16 MiB in all; pass less");
                return None;
            }
        }
        self.in_files += text.len();
        Some(text)
    }

    /// Renders a text of the content of a result.
    pub(crate) fn content(&mut self, word: &Word) -> String {
        let text = self.text(word);
        self.count(text.len());
        text
    }

    /// Renders what tells calls apart: each value as JSON, so that no two calls are mixed up.
    pub(crate) fn key(&self, word: &Word) -> String {
        let mut key = String::new();
        for segment in &word.segments {
            match segment {
                Segment::Literal(literal) => key.push_str(literal),
                Segment::Value(slot) | Segment::Spread(slot) => {
                    let fact = slot.caller().map(|fact| Value::from(fact.of(self.caller)));
                    let value = fact.or_else(|| self.value(slot).cloned());
                    key.push_str(&value.unwrap_or_default().to_string());
                }
            }
        }
        key
    }

    /// Says that the values of a word break a rule.
    pub(crate) fn refuse(&mut self, word: &Word, rule: &str) {
        if let Some(slot) = word.slots().next() {
            self.violate(&slot.name, None, rule);
        }
    }

    /// Counts a string that goes to the program.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.total = self.total.saturating_add(bytes + PER_STRING);
    }

    /// Returns what is wrong, if anything is.
    pub(crate) fn finish(mut self) -> Result<(), ArgumentError> {
        if self.total > MAX_TOTAL && self.violations.is_empty() {
            let rule = "the arguments are larger than 1 MiB in all; pass less";
            self.violations.push(Violation::of_all(rule));
        }
        ArgumentError::unless_empty(self.violations)
    }

    fn is_kept(&self, group: &Group) -> bool {
        let flag = group.flag.as_ref();
        let flagged = flag.is_none_or(|slot| match self.value(slot) {
            Some(Value::Bool(value)) => *value,
            _ => self.is_present(slot),
        });
        flagged && group.slots().all(|slot| self.is_present(slot))
    }

    fn is_present(&self, slot: &Slot) -> bool {
        if let Some(file) = slot.file() {
            let file = self.files.and_then(|placed| placed.files.get(file));
            return file.is_some_and(|file| self.is_written(&file.text));
        }
        match self.value(slot) {
            // What a caller lacks is an empty text.
            None | Some(Value::Null) => slot.caller().is_some(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(_) => true,
        }
    }

    /// Whether there is a file with this text. Unlike a word, it can hold an array without items.
    fn is_written(&self, text: &Word) -> bool {
        let kind = |slot: &Slot| self.parameters.get(&slot.name).map(|p| p.kind);
        (text.slots()).all(|slot| self.is_given(slot) || kind(slot).is_some_and(Kind::is_array))
    }

    fn is_given(&self, slot: &Slot) -> bool {
        self.value(slot).is_some_and(|value| !value.is_null())
    }

    fn value(&self, slot: &Slot) -> Option<&'a Value> {
        self.arguments.get(&slot.name)
    }

    fn word(&mut self, word: &Word, words: &mut Vec<OsString>) {
        if let [Segment::Spread(slot)] = word.segments.as_slice() {
            self.spread(slot, words);
            return;
        }
        let text = self.text(word);
        self.guard(word, &text);
        if word.literal() == Some("--") {
            self.separators = self.separators.saturating_sub(1);
        }
        self.count(text.len());
        words.push(text.into());
    }

    /// One word for each item; an absent array has no items.
    fn spread(&mut self, slot: &Slot, words: &mut Vec<OsString>) {
        let items = match self.value(slot) {
            None | Some(Value::Null) => return,
            Some(Value::Array(items)) => items,
            Some(_) => return self.violate(&slot.name, None, "must be an array"),
        };
        for (index, item) in items.iter().enumerate() {
            if self.total > MAX_TOTAL {
                return;
            }
            let kind = self.parameters.get(&slot.name).map(|p| p.kind.item());
            match text_of(item, kind.unwrap_or(Kind::Unknown)) {
                Ok(text) => {
                    if text.starts_with('-') && self.is_guarded(slot, item) {
                        self.violate(&slot.name, Some(index), DASH_RULE);
                    }
                    self.check_size(slot, Some(index), &text);
                    self.count(text.len());
                    words.push(text.into());
                }
                Err(rule) => self.violate(&slot.name, Some(index), rule),
            }
        }
    }

    /// The text of a word or variable that is no spread.
    fn text(&mut self, word: &Word) -> String {
        let mut text = String::new();
        for segment in &word.segments {
            match segment {
                Segment::Literal(literal) => text.push_str(literal),
                Segment::Value(slot) | Segment::Spread(slot) => {
                    text.push_str(&self.slot(slot));
                    self.check_size(slot, None, &text);
                }
            }
        }
        text
    }

    fn slot(&mut self, slot: &Slot) -> String {
        if let Some((file, placed)) = slot.file().zip(self.files) {
            return placed.folder.join(file).display().to_string();
        }
        let kind = self.parameters.get(&slot.name).map(|p| p.kind);
        let fact = slot.caller().map(|fact| fact.of(self.caller));
        let result = match self.value(slot) {
            None | Some(Value::Null) if fact.is_some() => {
                text_of(&Value::String(fact.unwrap_or_default()), Kind::String)
            }
            None | Some(Value::Null) => Err("is needed, and has no value"),
            Some(value) => text_of(value, kind.unwrap_or(Kind::Unknown)),
        };
        result.unwrap_or_else(|rule| {
            self.violate(&slot.name, None, rule);
            String::new()
        })
    }

    /// Refuses a word that begins with a value and would be read as an option.
    fn guard(&mut self, word: &Word, text: &str) {
        let Some(Segment::Value(first)) = word.segments.first() else {
            return;
        };
        if !text.starts_with('-') {
            return;
        }
        let slot = self.beginning(word).unwrap_or(first);
        if self
            .value(slot)
            .is_none_or(|value| self.is_guarded(slot, value))
        {
            self.violate(&slot.name, None, DASH_RULE);
        }
    }

    /// The value that a word begins with, those that are empty passed over; `None` when literal
    /// text comes first then.
    fn beginning<'w>(&self, word: &'w Word) -> Option<&'w Slot> {
        let is_empty = |slot: &Slot| self.value(slot).and_then(Value::as_str) == Some("");
        let visible = word.segments.iter().find(|segment| match segment {
            Segment::Literal(_) => true,
            Segment::Value(slot) | Segment::Spread(slot) => !is_empty(slot),
        });
        match visible {
            Some(Segment::Value(slot)) => Some(slot),
            _ => None,
        }
    }

    fn is_guarded(&self, slot: &Slot, value: &Value) -> bool {
        let Some(parameter) = self.parameters.get(&slot.name) else {
            return true;
        };
        let negative = value.is_number() && parameter.allows_negative;
        !(self.separators == 0 || parameter.allow_dash || negative)
    }

    fn check_size(&mut self, slot: &Slot, index: Option<usize>, text: &str) {
        if text.len() > MAX_WORD {
            self.violate(&slot.name, index, SIZE_RULE);
        }
    }

    fn violate(&mut self, parameter: &str, index: Option<usize>, rule: &str) {
        let violation = Violation::at(parameter, index, rule);
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }
}

const SIZE_RULE: &str = "is longer than 120 KiB; pass less";
const DASH_RULE: &str = "must not start with `-`, which the program would read as an option";

/// Writes a value as the text of a word; the error is the rule that it breaks.
fn text_of(value: &Value, kind: Kind) -> Result<String, &'static str> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number_text(number, kind)?,
        // Booleans, and what has no type at load: compact JSON.
        other => other.to_string(),
    };
    if text.contains('\0') {
        return Err("must not contain NUL, which cannot be passed to a program");
    }
    Ok(text)
}

fn number_text(number: &serde_json::Number, kind: Kind) -> Result<String, &'static str> {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return Ok(number.to_string());
    };
    if float == 0.0 {
        // Also for -0, which is no negative number.
        return Ok(if kind == Kind::Integer { "0" } else { "0.0" }.to_owned());
    }
    if kind != Kind::Integer {
        return Ok(number.to_string());
    }
    if float.abs() > MAX_EXACT || float.fract() != 0.0 {
        return Err("is an integer too large to be exact; write it without a fraction or exponent");
    }
    Ok(format!("{float:.0}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Kind, text_of};

    #[test]
    fn values_become_text() {
        let big = u64::MAX;
        let cases = [
            ("string", json!("a b"), Kind::String, Ok("a b")),
            ("empty string", json!(""), Kind::String, Ok("")),
            ("boolean", json!(true), Kind::Boolean, Ok("true")),
            ("integer", json!(-7), Kind::Integer, Ok("-7")),
            ("u64", json!(big), Kind::Integer, Ok("18446744073709551615")),
            (
                "2^53 + 1",
                json!(9_007_199_254_740_993_i64),
                Kind::Integer,
                Ok("9007199254740993"),
            ),
            ("1.0 as integer", json!(1.0), Kind::Integer, Ok("1")),
            ("-0.0 as integer", json!(-0.0), Kind::Integer, Ok("0")),
            ("-0.0 as number", json!(-0.0), Kind::Number, Ok("0.0")),
            (
                "2^53 as float",
                json!(9_007_199_254_740_992.0),
                Kind::Integer,
                Ok("9007199254740992"),
            ),
            (
                "beyond 2^53 as float",
                json!(1e300),
                Kind::Integer,
                Err("is an integer too large to be exact; write it without a fraction or exponent"),
            ),
            ("number", json!(1.5), Kind::Number, Ok("1.5")),
            ("whole number", json!(1.0), Kind::Number, Ok("1.0")),
            (
                "object",
                json!({"b": 1, "a": [1, 2]}),
                Kind::Unknown,
                Ok(r#"{"b":1,"a":[1,2]}"#),
            ),
            (
                "NUL",
                Value::String("a\0b".to_owned()),
                Kind::String,
                Err("must not contain NUL, which cannot be passed to a program"),
            ),
        ];
        for (name, value, kind, expected) in cases {
            assert_eq!(text_of(&value, kind), expected.map(str::to_owned), "{name}");
        }
    }
}
