//! `exec` and `script`: the program that runs, its words, its files and its environment.

mod files;
mod script;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::scope::Scope;
use crate::catalog::exec::{Exec, Files};
use crate::catalog::program::{self, Missing};
use crate::catalog::settings::{Variable, Workdir};
use crate::catalog::template::{self, Declared, Slot, Template, Word};
use crate::catalog::tool::Stdin;
use crate::catalog::{interpreter, path_value, variable};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::{Content, Entry};
use crate::sandbox::Policy;

/// What every child gets of the server's environment, if it is set.
const BASE_ENVIRONMENT: &[&str] = &["PATH", "HOME", "LANG", "TZ", "TMPDIR"];
/// Where the folders of calls are made when TMPDIR does not say.
const TEMPORARY: &str = "/tmp";

impl Scope<'_> {
    /// Reads a command line and what goes with it.
    pub(super) fn exec(
        self,
        entry: &Entry,
        unsafe_code: bool,
        report: &mut Report,
    ) -> Option<Exec> {
        let template = words(entry, report)?;
        let files = files::read(self, report);
        let declared = self.declared(&files);
        template::check(&template, declared, unsafe_code, report);
        self.check_variables(declared, report);
        if self.settings.stdin != Some(Stdin::Json) {
            let variables = self.variables().flat_map(|variable| variable.value.slots());
            let slots = template.slots().chain(variables).chain(files.slots());
            self.check_used_or(slots, |name| in_quotes(&template, name), report);
        }
        self.program(template, files, report)
    }

    /// Reads a script and what goes with it. It gets every parameter.
    pub(super) fn script(self, entry: &Entry, report: &mut Report) -> Option<Exec> {
        let files = files::read(self, report);
        self.check_variables(self.declared(&files), report);
        let (shell, script) = script::read(entry, self, report)?;
        Some(Exec {
            script: Some(script),
            ..self.program(shell, files, report)?
        })
    }

    fn declared<'f>(&'f self, files: &'f Files) -> Declared<'f> {
        Declared {
            tool: self.name,
            parameters: self.parameters,
            files,
        }
    }

    fn program(self, template: Template, files: Files, report: &mut Report) -> Option<Exec> {
        let sandbox = self.sandbox(report);
        let program = self.find_program(&template, report);
        if !self.can_be_confined(report) {
            return None;
        }
        Some(Exec {
            program: program?,
            template,
            script: None,
            files,
            workdir: self.workdir(),
            sandbox,
            inherited: self.inherited(),
            variables: self.settings.env.clone(),
            temporary: self.temporary(),
        })
    }

    fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.settings.env.iter()
    }

    fn check_variables(self, declared: Declared<'_>, report: &mut Report) {
        for Variable { name, value } in self.variables() {
            path_value::check(value, declared, report);
            variable::check_value(name, value, declared, report);
        }
        let slots = self.variables().flat_map(|variable| variable.value.slots());
        for slot in slots.filter(|slot| slot.caller().is_none()) {
            if declared.is_file(slot, report) {
                continue;
            }
            self.check_variable(slot, report);
        }
    }

    fn check_variable(self, slot: &Slot, report: &mut Report) {
        let parameter = template::check_declared(slot, self.name, self.parameters, report);
        if parameter.is_some_and(|parameter| parameter.kind.is_array()) {
            let message = format!("`{}` is an array, and a variable is one text", slot.name);
            let help = "pass it as words of `exec`";
            report.add(Problem::error(Code::ArrayInWord, slot.span, message).help(help));
        }
    }

    /// Finds the program; a hidden tool's absence is a warning.
    fn find_program(self, template: &Template, report: &mut Report) -> Option<PathBuf> {
        let word = template.words().next()?;
        let folder = self.context.folder(word.span);
        let missing = match program::resolve(word.literal()?, folder, self.context.environment) {
            Ok(program) => return Some(program),
            Err(missing) => of_shell(word).unwrap_or(missing),
        };
        let code = Code::ProgramMissing;
        let problem = if self.settings.hide_if_missing {
            let message = format!("`{}` is left out: {}", self.name, missing.message);
            Problem::warning(code, word.span, message)
        } else {
            Problem::error(code, word.span, missing.message).help(missing.help)
        };
        report.add(problem);
        None
    }

    fn workdir(self) -> Option<PathBuf> {
        let Workdir { path, place } = self.settings.workdir.as_ref()?;
        let joined = self.context.folder(*place).join(path);
        Some(std::path::absolute(&joined).unwrap_or(joined))
    }

    /// What the program is confined to, if it is. It can read what its definition names anyway.
    fn sandbox(self, report: &mut Report) -> Option<Arc<Policy>> {
        let sandbox = self.settings.sandbox.as_ref()?;
        let mut policy = sandbox.policy(|place| self.context.folder(place), report)?;
        let parameters = self.parameters.iter();
        let roots = parameters.filter_map(|parameter| parameter.root.clone());
        policy.read.extend(roots.chain(self.workdir()));
        Some(Arc::new(policy))
    }

    /// Whether this machine can confine the program; what it cannot do is reported.
    fn can_be_confined(self, report: &mut Report) -> bool {
        let Some(sandbox) = &self.settings.sandbox else {
            return true;
        };
        let hides = self.settings.hide_if_missing;
        let problem = sandbox.check(self.name, self.context.host, hides);
        let is_able = problem.is_ok();
        if let Some(problem) = problem.unwrap_or_else(Some) {
            report.add(problem);
        }
        is_able
    }

    /// Where the folders of calls are made. Their paths are words, and so texts.
    fn temporary(self) -> PathBuf {
        let folder = self.context.environment.get("TMPDIR");
        let folder = folder.and_then(|folder| folder.to_str());
        let folder = Path::new(folder.filter(|text| !text.is_empty()).unwrap_or(TEMPORARY));
        std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
    }

    fn inherited(self) -> Vec<(OsString, OsString)> {
        let mut names: Vec<&str> = BASE_ENVIRONMENT.to_vec();
        names.extend(self.settings.inherit_env.iter().map(String::as_str));
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(*name));
        names
            .into_iter()
            .filter_map(|name| {
                let value = self.context.environment.get(name)?;
                Some((name.into(), value.to_owned()))
            })
            .collect()
    }
}

/// What a shell would make of a word that is no program.
fn of_shell(word: &Word) -> Option<Missing> {
    let word = word.literal()?;
    let (message, help) = match word.split_once('=') {
        Some((name, value)) if template::is_parameter_name(name) => (
            format!("`{word}` would set a variable in a shell, and `exec` runs none"),
            format!("write `env: {{{name}: {value}}}` beside `exec`, and the program first"),
        ),
        _ if word == "cd" => (
            "`cd` is of a shell, and `exec` runs none".to_owned(),
            "say where the program runs with `workdir`".to_owned(),
        ),
        _ if word.contains(' ') => (
            format!("no program is called `{word}`, which is one word here"),
            "write `exec` as one line, or each word as an item of a list".to_owned(),
        ),
        _ => return None,
    };
    Some(Missing { message, help })
}

/// What to do about a placeholder that is taken as it stands.
fn in_quotes(template: &Template, name: &str) -> Option<String> {
    let placeholder = format!("{{{name}}}");
    let mut literals = template.words().flat_map(Word::literals);
    literals.any(|text| text.contains(&placeholder)).then(|| {
        let instead = if interpreter::is_shell(template) {
            format!(
                "for a shell, write \"$1\" there, and after it a word `sh` (for $0) and then \
                 `{placeholder}`"
            )
        } else {
            "write \"…\"".to_owned()
        };
        format!("`{placeholder}` is literal between '…': {instead}")
    })
}

/// Reads a program and its words.
fn words(entry: &Entry, report: &mut Report) -> Option<Template> {
    let template = match &entry.value.content {
        Content::Scalar(scalar) if !scalar.is_null() => template::split(scalar, report),
        Content::Sequence(nodes) => template::words_of_list(nodes, report),
        _ => {
            reader::wrong_value(entry, "a command line or a list of words", report);
            return None;
        }
    };
    if template.items.is_empty() {
        let message = format!("`{}` is empty", entry.key.text);
        let problem = Problem::error(Code::Template, entry.place(), message);
        report.add(problem.help("write the program and its arguments"));
        return None;
    }
    Some(template)
}
