//! Whatever the values are, a command keeps its shape: random templates and hostile values against
//! an oracle that knows nothing of YAML, schemas or guards.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::hostile::{Random, TEMPLATES, VALUES};
use super::{command, tool};

/// A piece of a random template.
#[derive(Debug)]
enum Part {
    Fixed(&'static str),
    /// The text around one or two values of one word: `before{x}between{y}`.
    Word(&'static str, usize, Option<(&'static str, usize)>),
    Spread(usize),
    /// Left out when the text is absent.
    Optional(&'static str, usize),
    Flag(usize),
    Integer(usize),
    Separator,
}

impl Part {
    fn random(random: &mut Random, at: usize) -> Self {
        let befores = ["", "", "", "--opt=", "x", "-o", "a b "];
        let before = befores[random.below(befores.len())];
        match random.below(9) {
            0 => Self::Fixed(["literal", "--fixed", "{{json .}}", "{.items[*]}"][random.below(4)]),
            1 | 2 => Self::Word(before, at, None),
            3 => Self::Word(
                before,
                at,
                Some(([":", "", "--"][random.below(3)], random.below(at + 1))),
            ),
            4 => Self::Spread(at),
            5 => Self::Optional(["", "--opt="][random.below(2)], at),
            6 => Self::Flag(at),
            7 => Self::Integer(at),
            _ => Self::Separator,
        }
    }

    /// How it is written.
    fn template(&self) -> String {
        match self {
            Self::Fixed(text) => (*text).to_owned(),
            Self::Word(before, s, None) => format!("\"{before}{{s{s}}}\""),
            Self::Word(before, s, Some((between, t))) => {
                format!("\"{before}{{s{s}}}{between}{{s{t}}}\"")
            }
            Self::Spread(a) => format!("{{a{a}...}}"),
            Self::Optional(before, o) => format!("[{before}{{o{o}}}]"),
            Self::Flag(b) => format!("[b{b}? --flag{b}]"),
            Self::Integer(i) => format!("{{i{i}}}"),
            Self::Separator => "--".to_owned(),
        }
    }
}

/// Random arguments for all names; returns also how many values they hold.
fn arguments(random: &mut Random, parts: usize) -> (Map<String, Value>, usize) {
    let mut arguments = Map::new();
    let mut count = 0;
    for at in 0..parts {
        let items: Vec<_> = (0..random.below(4)).map(|_| random.text()).collect();
        count += items.len() + 4;
        arguments.insert(format!("s{at}"), json!(random.text()));
        arguments.insert(format!("a{at}"), json!(items));
        if random.below(2) == 0 {
            arguments.insert(format!("o{at}"), json!(random.text()));
        }
        arguments.insert(format!("b{at}"), json!(random.below(2) == 0));
        arguments.insert(format!("i{at}"), json!(random.next() >> 40));
    }
    (arguments, count)
}

/// The words that a command must have; `None` if it must not run.
fn expected(parts: &[Part], arguments: &Map<String, Value>) -> Option<Vec<String>> {
    let text = |kind: &str, at: &usize| {
        let value = arguments.get(&format!("{kind}{at}"));
        value.map(|value| {
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        })
    };
    let mut words = Vec::new();
    let mut separated = false;
    for part in parts {
        let mut begins_with_value = |begins: bool, word: String| {
            let is_option = begins && word.starts_with('-') && !separated;
            let runs = !is_option && !word.contains('\0');
            words.push(word);
            runs.then_some(())
        };
        match part {
            Part::Fixed(text) => begins_with_value(false, (*text).to_owned())?,
            Part::Word(before, s, other) => {
                let mut word = format!("{before}{}", text("s", s)?);
                if let Some((between, t)) = other {
                    write!(word, "{between}{}", text("s", t)?).unwrap();
                }
                begins_with_value(before.is_empty(), word)?;
            }
            Part::Spread(a) => {
                let items = arguments[&format!("a{a}")].as_array().unwrap();
                for item in items {
                    begins_with_value(true, item.as_str().unwrap().to_owned())?;
                }
            }
            Part::Optional(before, o) => {
                if let Some(value) = text("o", o) {
                    begins_with_value(before.is_empty(), format!("{before}{value}"))?;
                }
            }
            Part::Flag(b) => {
                if arguments[&format!("b{b}")] == true {
                    begins_with_value(false, format!("--flag{b}"))?;
                }
            }
            Part::Integer(i) => begins_with_value(true, text("i", i)?)?,
            Part::Separator => {
                begins_with_value(false, "--".to_owned())?;
                separated = true;
            }
        }
    }
    Some(words)
}

#[test]
fn hostile_values_move_no_word_and_become_no_option() {
    let mut random = Random::seeded();
    let seed = random.seed;
    let (mut values, mut ran, mut refused) = (0, 0, 0);
    for _ in 0..TEMPLATES {
        let parts = 1 + random.below(6);
        let parts: Vec<_> = (0..parts).map(|at| Part::random(&mut random, at)).collect();
        let template: Vec<_> = parts.iter().map(Part::template).collect();
        let mut params = Vec::new();
        for at in 0..parts.len() {
            params.push(format!(
                "s{at}: string, a{at}: string..., o{at}: optional string, b{at}: boolean, \
                 i{at}: integer"
            ));
        }
        let template = template.join(" ");
        let tool = tool(
            &template,
            &format!("{{{}}}\n    stdin: json", params.join(", ")),
        );
        let until = values + VALUES / TEMPLATES;
        while values < until {
            let (arguments, count) = arguments(&mut random, parts.len());
            values += count;
            let found = command(&tool, &Value::Object(arguments.clone()));
            let found = found.ok().map(|command| {
                let words = command.arguments.into_iter();
                words.map(|word| word.into_string().unwrap()).collect()
            });
            let expected: Option<Vec<String>> = expected(&parts, &arguments);
            ran += usize::from(found.is_some());
            refused += usize::from(found.is_none());
            assert_eq!(
                found, expected,
                "seed {seed}: {template} with {arguments:?}"
            );
        }
    }
    assert!(
        values >= VALUES && ran > 100 && refused > 100,
        "{values} {ran} {refused}"
    );
}
