//! What runs: the keys that a tool shares with everything else that a program can back.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;

use super::Context;
use crate::catalog::environment::Environment;
use crate::catalog::params::Parameters;
use crate::catalog::program;
use crate::catalog::schema::InputSchema;
use crate::catalog::settings::{self, Settings};
use crate::catalog::template::{self, Template};
use crate::catalog::tool::{
    Annotations, Cancel, DEFAULT_GRACE, DEFAULT_MAX_OUTPUT, Effect, Exec, Kind, Parts, Tool,
};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Content, Entry, Key};

/// The keys that are read here besides those of [`Settings`].
const KEYS: &[&str] = &["exec", "params", "unsafe_code"];
/// What every child gets of the server's environment, if it is set.
const BASE_ENVIRONMENT: &[&str] = &["PATH", "HOME", "LANG", "TZ", "TMPDIR"];

/// The keys of what runs, as they stand in the file.
#[derive(Default)]
pub(super) struct Action<'a> {
    pub(super) exec: Option<&'a Entry>,
    pub(super) params: Option<&'a Entry>,
    unsafe_code: bool,
    settings: Settings,
}

impl<'a> Action<'a> {
    /// The keys that are read here.
    pub(super) fn keys() -> impl Iterator<Item = &'static str> {
        KEYS.iter().chain(settings::KEYS).copied()
    }

    /// Reads one key; returns whether it is one of ours.
    pub(super) fn read(&mut self, entry: &'a Entry, report: &mut Report) -> bool {
        match entry.key.text.as_str() {
            "exec" => self.exec = Some(entry),
            "params" => self.params = Some(entry),
            "unsafe_code" => {
                self.unsafe_code = reader::boolean(entry, report).unwrap_or(false);
            }
            _ => return self.settings.read(entry, report),
        }
        true
    }

    /// Makes a tool of what runs; `None` when it has errors, or is hidden. The tool has its name
    /// alone: what else clients are told of it is for the caller to say.
    pub(super) fn build(
        self,
        key: &Key,
        defaults: &Settings,
        context: &Context<'_>,
        report: &mut Report,
    ) -> Option<Tool> {
        let name = &key.text;
        let parameters = (self.params)
            .map(|entry| Parameters::read(entry, name, report))
            .unwrap_or_default();
        let settings = self.settings.or(defaults);
        let template = (self.exec).and_then(|entry| read_exec(entry, report));
        if let Some(template) = &template {
            template::check(template, name, &parameters, self.unsafe_code, report);
            check_variables(&settings, name, &parameters, report);
            check_used(template, &settings, name, &parameters, report);
        }
        let input = InputSchema::compile(&parameters, key.span, report);
        let exec = template.and_then(|template| exec(template, name, &settings, context, report));
        let parts = Parts {
            kind: Kind::Exec(exec?),
            parameters,
            input: input?,
        };
        Some(tool(name.clone(), settings, parts))
    }
}

fn tool(name: String, settings: Settings, parts: Parts) -> Tool {
    let effect = settings.effect.unwrap_or(Effect::Destructive);
    Tool {
        name,
        title: None,
        description: String::new(),
        annotations: Annotations::new(effect, settings.idempotent, settings.open_world),
        timeout: settings.timeout,
        max_output: settings.max_output.unwrap_or(DEFAULT_MAX_OUTPUT),
        output: settings.output.unwrap_or_default(),
        messages: settings.messages.unwrap_or(false),
        exit: settings.exit,
        cancel: Cancel {
            signal: settings.signal.unwrap_or_default(),
            grace: settings.grace.unwrap_or(DEFAULT_GRACE),
        },
        parts,
    }
}

fn exec(
    template: Template,
    name: &str,
    settings: &Settings,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Exec> {
    Some(Exec {
        program: find_program(&template, name, settings, context, report)?,
        template,
        workdir: settings
            .workdir
            .as_ref()
            .map(|path| absolute(path, context)),
        inherited: inherited(settings, context.environment),
        variables: settings.env.clone(),
    })
}

fn read_exec(entry: &Entry, report: &mut Report) -> Option<Template> {
    let template = match &entry.value.content {
        Content::Scalar(scalar) if !scalar.is_null() => template::split(scalar, report),
        Content::Sequence(nodes) => template::words_of_list(nodes, report),
        _ => {
            reader::wrong_value(entry, "a command line or a list of words", report);
            return None;
        }
    };
    if template.items.is_empty() {
        let message = "`exec` is empty";
        let problem = Problem::error(Code::Template, entry.place(), message);
        report.add(problem.help("write the program and its arguments"));
        return None;
    }
    Some(template)
}

fn check_variables(settings: &Settings, tool: &str, parameters: &Parameters, report: &mut Report) {
    for slot in settings
        .env
        .iter()
        .flat_map(|variable| variable.value.slots())
    {
        let parameter = template::check_declared(slot, tool, parameters, report);
        if parameter.is_some_and(|parameter| parameter.kind.is_array()) {
            let message = format!("`{}` is an array, and a variable is one text", slot.name);
            let help = "pass it as words of `exec`";
            report.add(Problem::error(Code::ArrayInWord, slot.span, message).help(help));
        }
    }
}

fn check_used(
    template: &Template,
    settings: &Settings,
    tool: &str,
    parameters: &Parameters,
    report: &mut Report,
) {
    let variables = settings
        .env
        .iter()
        .flat_map(|variable| variable.value.slots());
    let used: HashSet<&str> = (template.slots().chain(variables))
        .map(|slot| slot.name.as_str())
        .collect();
    for parameter in parameters.iter() {
        let name = parameter.name.as_str();
        if !used.contains(name) {
            let message = format!("parameter `{name}` of `{tool}` is used nowhere");
            let help = format!(
                "write `{{{name}}}` where its value belongs, or remove it: the model's value \
                 would be ignored"
            );
            report.add(Problem::error(Code::Unused, parameter.span, message).help(help));
        }
    }
}

/// Finds the program; a hidden tool's absence is a warning.
fn find_program(
    template: &Template,
    tool: &str,
    settings: &Settings,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<PathBuf> {
    let word = template.words().next()?;
    let missing = match program::resolve(word.literal()?, context.folder, context.environment) {
        Ok(program) => return Some(program),
        Err(missing) => missing,
    };
    let code = Code::ProgramMissing;
    let problem = if settings.hide_if_missing {
        let message = format!("tool `{tool}` is left out: {}", missing.message);
        Problem::warning(code, word.span, message)
    } else {
        Problem::error(code, word.span, missing.message).help(missing.help)
    };
    report.add(problem);
    None
}

fn absolute(path: &str, context: &Context<'_>) -> PathBuf {
    let joined = context.folder.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

fn inherited(settings: &Settings, environment: &Environment) -> Vec<(OsString, OsString)> {
    let mut names: Vec<&str> = BASE_ENVIRONMENT.to_vec();
    names.extend(settings.inherit_env.iter().map(String::as_str));
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(*name));
    names
        .into_iter()
        .filter_map(|name| Some((name.into(), environment.get(name)?.to_owned())))
        .collect()
}
