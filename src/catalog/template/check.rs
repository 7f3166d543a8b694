//! What a template may say, given the parameters of its tool.

use super::{Group, Item, Segment, Slot, Template, Word};
use crate::catalog::exec::Files;
use crate::catalog::interpreter;
use crate::catalog::params::{Kind, Parameter, Parameters, is_plain};
use crate::catalog::path_value;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::suggest::did_you_mean;

/// What the placeholders of a command can name.
#[derive(Clone, Copy)]
pub(crate) struct Declared<'a> {
    pub(crate) tool: &'a str,
    pub(crate) parameters: &'a Parameters,
    pub(crate) files: &'a Files,
}

/// Checks every placeholder of a command against what is declared.
///
/// `unsafe_code` is the author's word that an interpreter may run a caller's text.
pub(crate) fn check(
    template: &Template,
    declared: Declared<'_>,
    unsafe_code: bool,
    report: &mut Report,
) {
    check_program(template, report);
    for word in template.words() {
        check_word(word, declared, report);
        path_value::check(word, declared, report);
    }
    for item in &template.items {
        match item {
            Item::Word(word) if template.is_sound => {
                check_outside_group(word, declared, report);
            }
            Item::Word(_) => {}
            Item::Group(group) => {
                if let Some(flag) = &group.flag {
                    check_declared(flag, declared.tool, declared.parameters, report);
                }
                if template.is_sound {
                    check_droppable(group, declared, report);
                }
            }
        }
    }
    if !unsafe_code {
        interpreter::check(template, declared, report);
    }
}

impl Declared<'_> {
    /// Checks a placeholder that may name a file; false if it is that of a parameter.
    pub(crate) fn is_file(&self, slot: &Slot, report: &mut Report) -> bool {
        let Some(name) = slot.file() else {
            return false;
        };
        if self.files.names().all(|known| known != name) {
            let message = format!("`{}` has no file `{name}`", self.tool);
            let help = did_you_mean(name, self.files.names())
                .unwrap_or_else(|| format!("say under `files` what `{name}` holds"));
            report.add(Problem::error(Code::Undeclared, slot.span, message).help(help));
        }
        true
    }

    /// Whether the author has listed all values of a place.
    pub(crate) fn is_chosen_by_author(&self, slot: &Slot) -> bool {
        let parameter = self.parameters.get(&slot.name);
        parameter.is_none_or(|parameter| {
            parameter.schema.get("enum").is_some() || parameter.schema.get("const").is_some()
        })
    }

    /// Whether what fills a place could be code: neither listed by the author nor a number.
    pub(crate) fn may_be_code(&self, slot: &Slot) -> bool {
        let kind = self.parameters.get(&slot.name).map(|found| found.kind);
        let is_number = matches!(kind, Some(Kind::Integer | Kind::Number | Kind::Boolean));
        !is_number && !self.is_chosen_by_author(slot)
    }

    /// Whether what fills a place means nothing in any syntax.
    pub(crate) fn is_plain(&self, slot: &Slot) -> bool {
        self.parameters.get(&slot.name).is_none_or(is_plain)
    }

    /// Whether a valid call may leave a place empty, as far as is known.
    fn may_be_absent(&self, slot: &Slot) -> bool {
        let parameter = |slot: &Slot| self.parameters.get(&slot.name);
        match slot.file() {
            None => parameter(slot).is_some_and(Parameter::may_be_absent),
            Some(name) => self.files.get(name).is_some_and(|file| {
                let mut parameters = file.text.slots().filter_map(parameter);
                parameters.any(|parameter| parameter.may_be_missing() && !parameter.kind.is_array())
            }),
        }
    }
}

/// Checks that a placeholder names a parameter, where nothing can name the caller.
pub(crate) fn check_declared<'a>(
    slot: &Slot,
    tool: &str,
    parameters: &'a Parameters,
    report: &mut Report,
) -> Option<&'a Parameter> {
    if slot.file().is_some() {
        let message = format!("`{{{}}}` has no place here", slot.name);
        let help = "the path of a file may stand in `exec` and in `env`";
        report.add(Problem::error(Code::Undeclared, slot.span, message).help(help));
        return None;
    }
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

fn check_word(word: &Word, declared: Declared<'_>, report: &mut Report) {
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
        if declared.is_file(slot, report) {
            continue;
        }
        let Declared {
            tool, parameters, ..
        } = declared;
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
fn check_outside_group(word: &Word, declared: Declared<'_>, report: &mut Report) {
    for segment in &word.segments {
        let Segment::Value(slot) = segment else {
            continue;
        };
        let parameter = declared.parameters.get(&slot.name);
        let is_array = parameter.is_some_and(|parameter| parameter.kind.is_array());
        if !declared.may_be_absent(slot) || is_array {
            continue;
        }
        let message = match slot.file() {
            None => format!("`{}` is optional and stands outside a group", slot.name),
            Some(file) => format!(
                "`{file}` is not written without what is optional in it, and its path stands \
                 outside a group"
            ),
        };
        let help = "put brackets around the words that go with it, as in \
                    `[--author={author}]`, or give it a default";
        let problem = Problem::error(Code::OptionalOutsideGroup, slot.span, message);
        report.add(problem.help(help));
    }
}

/// A group that is always there is no group: its author has something else in mind.
fn check_droppable(group: &Group, declared: Declared<'_>, report: &mut Report) {
    let parameters = declared.parameters;
    let is_boolean = (group.flag.as_ref())
        .and_then(|flag| parameters.get(&flag.name))
        .is_some_and(|flag| flag.kind == Kind::Boolean);
    let is_known = |slot: &Slot| match slot.file() {
        None => parameters.get(&slot.name).is_some(),
        Some(file) => declared.files.get(file).is_some(),
    };
    let droppable = group.slots().any(|slot| declared.may_be_absent(slot));
    if is_boolean || droppable || !group.slots().all(is_known) {
        return;
    }
    let message = "this group can never be left out: no parameter in it is optional";
    let help = "remove the brackets, make a parameter optional, or quote a literal `[`";
    report.add(Problem::error(Code::FixedGroup, group.span, message).help(help));
}
