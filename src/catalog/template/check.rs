//! What a template may say, given the parameters of its tool.

use super::{Group, Item, Segment, Slot, Template, Word};
use crate::catalog::interpreter;
use crate::catalog::params::{Kind, Parameter, Parameters};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::suggest::did_you_mean;

/// Checks every placeholder of a command against the parameters.
///
/// `unsafe_code` is the author's word that an interpreter may run a caller's text.
pub(crate) fn check(
    template: &Template,
    tool: &str,
    parameters: &Parameters,
    unsafe_code: bool,
    report: &mut Report,
) {
    check_program(template, report);
    for word in template.words() {
        check_word(word, tool, parameters, report);
    }
    for item in &template.items {
        match item {
            Item::Word(word) if template.is_sound => {
                check_outside_group(word, parameters, report);
            }
            Item::Word(_) => {}
            Item::Group(group) => {
                if let Some(flag) = &group.flag {
                    check_declared(flag, tool, parameters, report);
                }
                if template.is_sound {
                    check_droppable(group, parameters, report);
                }
            }
        }
    }
    if !unsafe_code {
        interpreter::check(template, report);
    }
}

/// Checks that a placeholder names a parameter, where nothing can name the caller.
pub(crate) fn check_declared<'a>(
    slot: &Slot,
    tool: &str,
    parameters: &'a Parameters,
    report: &mut Report,
) -> Option<&'a Parameter> {
    if slot.caller().is_some() {
        let (name, field) = (&slot.name, slot.name.rsplit('.').next().unwrap_or_default());
        let message = format!("`{{{name}}}` has no place here");
        let help = format!(
            "it may stand in `env` and in headers; elsewhere, bind it to a parameter with \
             `{field}: {{from: {name}}}`"
        );
        report.add(Problem::error(Code::Undeclared, slot.span, message).help(help));
        return None;
    }
    let parameter = parameters.get(&slot.name);
    if parameter.is_none() && !parameters.is_broken(&slot.name) {
        let message = format!("`{{{}}}` is not a parameter of `{tool}`", slot.name);
        let place = match parameters.whole_place() {
            None => "`params`",
            Some(_) => "the `properties` of `input_schema`",
        };
        let help = did_you_mean(&slot.name, parameters.names())
            .unwrap_or_else(|| format!("declare `{}` under {place}", slot.name));
        report.add(Problem::error(Code::Undeclared, slot.span, message).help(help));
    }
    parameter
}

fn check_program(template: &Template, report: &mut Report) {
    let (span, what) = match template.items.first() {
        Some(Item::Word(word)) if word.literal().is_none() => (word.span, "a placeholder"),
        Some(Item::Group(group)) => (group.span, "a group"),
        _ => return,
    };
    let message = format!("the program to run must be fixed, and {what} stands in its place");
    let problem = Problem::error(Code::ProgramPlaceholder, span, message)
        .help("write the program first, one tool for each program");
    report.add(problem);
}

fn check_word(word: &Word, tool: &str, parameters: &Parameters, report: &mut Report) {
    let is_whole = word.segments.len() == 1;
    for segment in &word.segments {
        let (slot, spread) = match segment {
            Segment::Literal(text) => {
                if text.contains('\0') {
                    let message = "a word cannot hold NUL";
                    report.add(Problem::error(Code::Template, word.span, message));
                }
                continue;
            }
            Segment::Value(slot) => (slot, false),
            Segment::Spread(slot) => (slot, true),
        };
        let Some(parameter) = check_declared(slot, tool, parameters, report) else {
            continue;
        };
        if let Some((message, help)) = misfit(slot, parameter.kind, spread, is_whole) {
            report.add(Problem::error(Code::ArrayInWord, slot.span, message).help(help));
        }
    }
}

/// Says why a parameter does not fit the place of its placeholder.
fn misfit(slot: &Slot, kind: Kind, spread: bool, is_whole: bool) -> Option<(String, String)> {
    let name = &slot.name;
    match (spread, kind) {
        (true, _) if !is_whole => Some((
            format!("`{{{name}...}}` must be a whole word"),
            "put white space around it: each item becomes a word of its own".to_owned(),
        )),
        (true, Kind::Array(_) | Kind::Unknown) => None,
        (true, _) => Some((
            format!("`{name}` is not an array"),
            format!("write `{{{name}}}`"),
        )),
        (false, Kind::Array(_)) => Some((
            format!("`{name}` is an array, and `{{{name}}}` is the place of one value"),
            format!("write `{{{name}...}}` as a whole word"),
        )),
        (false, Kind::Object) => Some((
            format!("`{name}` is an object, and a word is a text"),
            "declare a parameter for each part that the program needs".to_owned(),
        )),
        (false, _) => None,
    }
}

/// Outside a group, only an array may be absent: it makes no words.
fn check_outside_group(word: &Word, parameters: &Parameters, report: &mut Report) {
    for segment in &word.segments {
        let Segment::Value(slot) = segment else {
            continue;
        };
        let absent = parameters
            .get(&slot.name)
            .is_some_and(|parameter| parameter.may_be_absent() && !parameter.kind.is_array());
        if absent {
            let message = format!("`{}` is optional and stands outside a group", slot.name);
            let help = "put brackets around the words that go with it, as in \
                        `[--author={author}]`, or give it a default";
            let problem = Problem::error(Code::OptionalOutsideGroup, slot.span, message);
            report.add(problem.help(help));
        }
    }
}

/// A group that is always there is no group: its author has something else in mind.
fn check_droppable(group: &Group, parameters: &Parameters, report: &mut Report) {
    let is_boolean = (group.flag.as_ref())
        .and_then(|flag| parameters.get(&flag.name))
        .is_some_and(|flag| flag.kind == Kind::Boolean);
    let unknown = group
        .slots()
        .any(|slot| parameters.get(&slot.name).is_none());
    let droppable = group
        .slots()
        .filter_map(|slot| parameters.get(&slot.name))
        .any(Parameter::may_be_absent);
    if is_boolean || droppable || unknown {
        return;
    }
    let message = "this group can never be left out: no parameter in it is optional";
    let help = "remove the brackets, make a parameter optional, or quote a literal `[`";
    report.add(Problem::error(Code::FixedGroup, group.span, message).help(help));
}
