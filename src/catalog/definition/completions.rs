//! `complete`: what may be proposed for the arguments of a prompt or template.

use std::collections::HashMap;
use std::sync::Arc;

use super::Context;
use super::about::Subject;
use super::action::Action;
use super::backed::{NOT_OF_TOOLS, OF_ARGUMENTS, raw};
use super::source;
use crate::catalog::Tool;
use crate::catalog::allow::Allow;
use crate::catalog::completions::{CandidateProgram, Candidates, Completions, TYPED};
use crate::catalog::params::{Parameter, Parameters};
use crate::catalog::settings::{ACCESS_KEYS, Settings};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::suggest::did_you_mean;
use crate::document::yaml::{Content, Entry, Node};

/// What completions are read for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) subject: Subject<'a>,
    /// Who may use the subject, and so its completions.
    pub(super) allow: &'a Allow,
    pub(super) parameters: &'a Parameters,
    pub(super) defaults: &'a Settings,
    pub(super) context: &'a Context<'a>,
}

/// Reads the candidates of all arguments.
pub(super) fn read(entry: Option<&Entry>, scope: Scope<'_>, report: &mut Report) -> Completions {
    let entries = entry.and_then(|entry| reader::mapping(entry, report));
    let mut given = HashMap::new();
    for entry in entries.unwrap_or_default() {
        let name = &entry.key.text;
        let is_known = scope.parameters.names().any(|known| known == name);
        if !is_known {
            let message = format!("`{name}` is not an argument of {}", scope.subject);
            let help = did_you_mean(name, scope.parameters.names());
            let problem = Problem::error(Code::Undeclared, entry.key.span, message);
            report.add(problem.maybe_help(help));
        }
        if let Some(candidates) = scope.candidates(entry, report) {
            given.insert(name.clone(), candidates);
        }
    }
    Completions::new(scope.parameters, given)
}

impl Scope<'_> {
    fn candidates(self, entry: &Entry, report: &mut Report) -> Option<Candidates> {
        match &entry.value.content {
            Content::Sequence(nodes) => {
                let texts = nodes.iter().filter_map(|node| text(node, report));
                Some(Candidates::Listed(texts.collect()))
            }
            Content::Mapping(entries) => {
                let program = self.program(entry, entries, report)?;
                Some(Candidates::Printed(program))
            }
            Content::Scalar(_) => {
                reader::wrong_value(entry, "a list of texts, or a mapping with `exec`", report);
                None
            }
        }
    }

    fn program(
        self,
        entry: &Entry,
        entries: &[Entry],
        report: &mut Report,
    ) -> Option<CandidateProgram> {
        let mut action = Action::default();
        // Nobody is asked on each key that is pressed, and who may use it is said of the whole.
        let no_use = ["confirm", "ask", "confirm_fallback"];
        let no_use = [&no_use, OF_ARGUMENTS, NOT_OF_TOOLS, ACCESS_KEYS].concat();
        let is_known = |key: &&str| !no_use.contains(key);
        for entry in entries {
            let name = entry.key.text.as_str();
            if !is_known(&name) || !action.read(entry, report) {
                let known: Vec<_> = Action::keys().filter(is_known).collect();
                reader::unknown_key(entry, "a completion", &known, report);
            }
        }
        match action.sources.as_slice() {
            [(source, _)] => {
                source::check_keys(self.subject, *source, &action.of_source, report);
            }
            [(_, one), (_, other), ..] => report.add(source::both(self.subject, one, other)),
            [] => {
                let message = format!("the completion of `{}` has nothing to run", entry.key.text);
                let help = "add `exec` with a program that prints one candidate on each line, or \
                            `http` with a request that gives them";
                report.add(Problem::error(Code::Kind, entry.key.span, message).help(help));
                return None;
            }
        }
        action.may_ignore = true;
        let mut parameters = self.parameters.optional();
        parameters.add(Parameter::text(TYPED, entry.key.span));
        let key = self.subject.key;
        let tool = action.build_with(parameters, key, self.defaults, self.context, report)?;
        let identity = format!("completion of `{}` of {}", entry.key.text, self.subject);
        Some(CandidateProgram {
            ignores_typed: !tool.uses(TYPED),
            tool: Arc::new(Tool {
                allow: self.allow.clone(),
                ..raw(tool, identity)
            }),
        })
    }
}

fn text(node: &Node, report: &mut Report) -> Option<String> {
    match node.scalar() {
        Some(scalar) if !scalar.is_null() => Some(scalar.text.clone()),
        _ => {
            let message = format!("a candidate must be a text, not {}", node.kind());
            report.add(Problem::error(Code::Value, node.span, message));
            None
        }
    }
}
