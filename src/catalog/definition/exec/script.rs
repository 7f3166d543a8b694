//! `script`: a text for an interpreter, which gets the arguments as variables and as JSON.

use std::collections::{HashMap, HashSet};

use crate::catalog::definition::scope::Scope;
use crate::catalog::definition::unknown_key;
use crate::catalog::exec::{Input, Script};
use crate::catalog::interpreter;
use crate::catalog::template::{Item, Segment, Template, Word, is_parameter_name};
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::yaml::{Entry, Scalar};

const KEYS: &[&str] = &["shell", "run"];
/// What runs a script that does not say.
const SHELL: &str = "sh";

/// Reads a script and the command of its interpreter, to which the path of the script is added.
pub(super) fn read(
    entry: &Entry,
    scope: Scope<'_>,
    report: &mut Report,
) -> Option<(Template, Script)> {
    let Some(entries) = entry.value.mapping() else {
        let expected = "a mapping such as `{shell: bash, run: …}`";
        reader::wrong_value(entry, expected, report);
        return None;
    };
    let (mut shell, mut run) = (Some(default_shell(entry.key.span)), None);
    let mut meant = HashSet::new();
    for entry in entries {
        match entry.key.text.as_str() {
            "shell" => shell = read_shell(entry, report),
            "run" => run = Some(entry),
            _ => unknown_key(entry, "`script`", KEYS, &mut meant, report),
        }
    }
    let inputs = inputs(scope, report);
    let Some(run) = run else {
        if !meant.contains("run") {
            let problem = Problem::error(Code::Value, entry.key.span, "`script` has no `run`");
            report.add(problem.help("add `run` with the text of the script"));
        }
        return None;
    };
    let text = read_run(run, report)?;
    let shell = shell?;
    if let Some(scalar) = run.value.scalar() {
        check_placeholders(scalar, &shell, &inputs, report);
        if interpreter::is_shell(&shell) {
            check_unset(scalar, &inputs, report);
        }
    }
    Some((shell, Script { text, inputs }))
}

fn default_shell(span: Span) -> Template {
    let segments = vec![Segment::Literal(SHELL.to_owned())];
    Template::of_words(vec![Word { segments, span }])
}

fn read_shell(entry: &Entry, report: &mut Report) -> Option<Template> {
    let shell = super::words(entry, report)?;
    for item in &shell.items {
        let (span, what) = match item {
            Item::Word(word) if word.literal().is_none() => (word.span, "a placeholder"),
            Item::Group(group) => (group.span, "a group"),
            Item::Word(_) => continue,
        };
        let message =
            format!("the interpreter of a script must be fixed, and {what} is part of it");
        let problem = Problem::error(Code::ProgramPlaceholder, span, message);
        report.add(problem.help("a script gets its arguments as variables `INPUT_…` and as JSON"));
        return None;
    }
    Some(shell)
}

fn read_run(entry: &Entry, report: &mut Report) -> Option<String> {
    let text = reader::text(entry, report)?;
    if text.trim().is_empty() {
        reader::wrong_value(entry, "the text of a script", report);
        return None;
    }
    Some(text)
}

/// The variables of the parameters. One whose name no variable can have arrives as JSON alone.
fn inputs(scope: Scope<'_>, report: &mut Report) -> Vec<Input> {
    let mut taken: HashMap<String, (String, Span)> = (scope.settings.env.iter())
        .map(|variable| {
            let name = &variable.name;
            (
                name.text.clone(),
                (format!("`{}` of `env`", name.text), name.span),
            )
        })
        .collect();
    let mut inputs = Vec::new();
    let named = (scope.parameters.iter()).filter(|parameter| is_parameter_name(&parameter.name));
    for parameter in named {
        let input = Input::of(&parameter.name);
        let this = format!("parameter `{}`", parameter.name);
        if let Some((other, first)) = taken.get(&input.variable) {
            let message = format!("{this} and {other} would both be `{}`", input.variable);
            let problem = Problem::error(Code::Duplicate, parameter.span, message);
            report.add(
                problem
                    .also(*first, "the other one")
                    .help("give one of them another name"),
            );
        }
        taken.insert(input.variable.clone(), (this, parameter.span));
        inputs.push(input);
    }
    inputs
}

/// Reports what looks like a placeholder. Nothing would fill it, and if something did, a value
/// would be code.
fn check_placeholders(scalar: &Scalar, shell: &Template, inputs: &[Input], report: &mut Report) {
    let is_shell = interpreter::is_shell(shell);
    let text = scalar.text.as_str();
    for (start, _) in text.match_indices('{') {
        let before = text.get(..start).unwrap_or_default();
        let after = text.get(start + 1..).unwrap_or_default();
        let Some((name, _)) = after.split_once('}') else {
            return;
        };
        let input = inputs.iter().find(|input| {
            name == input.parameter || name.strip_suffix("...") == Some(&input.parameter)
        });
        // `${name}` is the shell's own.
        let Some(input) = input.filter(|_| !before.ends_with('$')) else {
            continue;
        };
        // Braces mean something in most languages, around names of their own.
        if !is_shell && has_word(text, &input.parameter) {
            continue;
        }
        let span = scalar.place(start..start + name.len() + 2, report);
        let variable = &input.variable;
        let (message, help) = if is_shell {
            (
                format!("`{{{name}}}` in a script would be shell injection"),
                format!("use \"${variable}\", with the quotes"),
            )
        } else {
            (
                format!("`{{{name}}}` in a script would be code injection"),
                format!("read the variable `{variable}`"),
            )
        };
        // Between '…' the braces may be those of another language, such as jq.
        let is_quoted = is_shell && before.matches('\'').count() % 2 == 1;
        let problem = if is_quoted {
            let message = format!("nothing fills `{{{name}}}` in a script");
            Problem::warning(Code::ScriptPlaceholder, span, message)
        } else {
            Problem::error(Code::ScriptPlaceholder, span, message)
        };
        report.add(problem.help(help));
    }
}

/// Warns of a variable that is named as a parameter and set nowhere: it is empty, whatever a caller
/// says.
fn check_unset(scalar: &Scalar, inputs: &[Input], report: &mut Report) {
    let text = scalar.text.as_str();
    for Input {
        variable,
        parameter,
    } in inputs
    {
        let words: Vec<_> = words(text, parameter).collect();
        let is_use = |start: &usize| {
            let before = text.get(..*start).unwrap_or_default();
            before.ends_with('$') || before.ends_with("${")
        };
        let Some(start) = words.first().filter(|_| words.iter().all(is_use)) else {
            continue;
        };
        let span = scalar.place(start.saturating_sub(1)..start + parameter.len(), report);
        let message = format!("nothing sets `${parameter}` here, so it is empty");
        let problem = Problem::warning(Code::ScriptPlaceholder, span, message);
        report.add(problem.help(format!(
            "the value of the caller is \"${variable}\", with the quotes"
        )));
    }
}

/// Whether a name stands in a text outside braces of its own: as a variable of the script, say.
fn has_word(text: &str, name: &str) -> bool {
    words(text, name).any(|start| {
        let is_open = text.get(..start).is_some_and(|text| text.ends_with('{'));
        let after = text.get(start + name.len()..).unwrap_or_default();
        !(is_open && after.starts_with(['}', '.']))
    })
}

/// Where a name stands in a text and is no part of another.
fn words<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let places = text.match_indices(name).map(|(start, _)| start);
    places.filter(move |start| {
        let before = text.get(..*start).unwrap_or_default();
        let after = text.get(start + name.len()..).unwrap_or_default();
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}
