//! What runs: the keys that a tool shares with everything else that a program can back.

use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use super::scope::Scope;
use super::source::Source;
use crate::catalog::allow::Allow;
use crate::catalog::binding::Bindings;
use crate::catalog::content::Piece;
use crate::catalog::output::Output;
use crate::catalog::params::Parameters;
use crate::catalog::question::{Fallback, Questions};
use crate::catalog::rules::Rules;
use crate::catalog::schema::InputSchema;
use crate::catalog::settings::{self, Settings};
use crate::catalog::tool::{
    Annotations, Cancel, DEFAULT_GRACE, DEFAULT_MAX_OUTPUT, Effect, Kind, Parts, Stdin, Tool,
};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::suggest::nearest;
use crate::document::yaml::{Entry, Key};

/// The keys that are read here besides those of [`Settings`].
const KEYS: &[&str] = &[
    "exec",
    "http",
    "script",
    "files",
    "params",
    "exclusive",
    "requires",
    "input_schema",
    "unsafe_code",
    "confirm",
    "ask",
];

/// The keys of what runs, as they stand in the file.
#[derive(Default)]
pub(super) struct Action<'a> {
    /// What it is made of; one, unless there are errors. `content` is for the caller to add: not
    /// everything that runs can be fixed.
    pub(super) sources: Vec<(Source, &'a Entry)>,
    /// The entries of the other keys that are read here, `params` and `input_schema` apart.
    pub(super) of_source: Vec<&'a Entry>,
    params: Option<&'a Entry>,
    input_schema: Option<&'a Entry>,
    exclusive: Option<&'a Entry>,
    requires: Option<&'a Entry>,
    files: Option<&'a Entry>,
    /// What runs, where the caller has read it already.
    pub(super) given: Option<Given>,
    /// The caller knows of parameters that are used nowhere.
    pub(super) may_ignore: bool,
    unsafe_code: bool,
    confirm: Option<&'a Entry>,
    ask: Option<&'a Entry>,
    confirm_fallback: Option<&'a Entry>,
    progress: Option<&'a Entry>,
    allow: Option<&'a Entry>,
    step_up: Option<&'a Entry>,
    settings: Settings,
}

/// What runs, without a program.
pub(super) enum Given {
    /// Fixed content.
    Content(Vec<Piece>),
    /// A file that is read each time.
    File(PathBuf),
}

impl<'a> Action<'a> {
    /// The keys that are read here.
    pub(super) fn keys() -> impl Iterator<Item = &'static str> {
        KEYS.iter().chain(settings::KEYS).copied()
    }

    /// Reads one key; returns whether it is one of ours.
    pub(super) fn read(&mut self, entry: &'a Entry, report: &mut Report) -> bool {
        match entry.key.text.as_str() {
            "exec" => self.sources.push((Source::Exec, entry)),
            "http" => self.sources.push((Source::Http, entry)),
            "script" => self.sources.push((Source::Script, entry)),
            "params" => self.params = Some(entry),
            "input_schema" => self.input_schema = Some(entry),
            "exclusive" => self.exclusive = Some(entry),
            "requires" => self.requires = Some(entry),
            _ => {
                let is_ours = self.read_of_source(entry, report);
                self.of_source.extend(is_ours.then_some(entry));
                return is_ours;
            }
        }
        true
    }

    /// Reads an unknown key for the one that was meant: what it declares is not undeclared as well.
    pub(super) fn read_meant(&mut self, entry: &'a Entry) {
        let is_params = nearest(&entry.key.text, ["params"]).is_some();
        if is_params && entry.value.mapping().is_some() {
            self.params.get_or_insert(entry);
        }
    }

    fn read_of_source(&mut self, entry: &'a Entry, report: &mut Report) -> bool {
        match entry.key.text.as_str() {
            "files" => self.files = Some(entry),
            "unsafe_code" => {
                self.unsafe_code = reader::boolean(entry, report).unwrap_or(false);
            }
            "confirm" => self.confirm = Some(entry),
            "ask" => self.ask = Some(entry),
            "progress" => {
                self.progress = Some(entry);
                return self.settings.read(entry, report);
            }
            "confirm_fallback" => {
                self.confirm_fallback = Some(entry);
                return self.settings.read(entry, report);
            }
            "allow" => {
                self.allow = Some(entry);
                return self.settings.read(entry, report);
            }
            "step_up" => {
                self.step_up = Some(entry);
                return self.settings.read(entry, report);
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
        let parameters = self.parameters(&key.text, report);
        self.build_with(parameters, key, defaults, context, report)
    }

    /// As [`Action::build`], with parameters that the caller has read.
    pub(super) fn build_with(
        self,
        mut parameters: Parameters,
        key: &Key,
        defaults: &Settings,
        context: &Context<'_>,
        report: &mut Report,
    ) -> Option<Tool> {
        let name = &key.text;
        parameters.place_roots(|place| context.folder(place));
        // Before the values that the user is asked for are among them.
        let rules = Rules::read(self.exclusive, self.requires, name, &parameters, report);
        let input = InputSchema::compile(&parameters, rules, key.span, report);
        let grants = context.environment.grants();
        let bindings = Bindings::compile(name, &parameters, grants, report);
        let questions = Questions::read(self.confirm, self.ask, name, &mut parameters, report);
        self.check_fallback(report);
        self.check_step_up(defaults, report);
        if let Some(allow) = &self.settings.allow {
            allow.check(&format!("`{name}`"), grants, report);
        }
        let settings = self.settings.or(defaults);
        let scope = Scope {
            name,
            parameters: &parameters,
            settings: &settings,
            files: self.files,
            may_ignore: self.may_ignore,
            context,
        };
        let boxed = |exec| Kind::Exec(Box::new(exec));
        let kind = match (self.sources.first(), self.given) {
            (Some((Source::Exec, entry)), _) => {
                scope.exec(entry, self.unsafe_code, report).map(boxed)
            }
            (Some((Source::Http, entry)), _) => scope
                .http(entry, report)
                .map(|http| Kind::Http(Box::new(http))),
            (Some((Source::Script, entry)), _) => scope.script(entry, report).map(boxed),
            (Some((Source::Content, entry)), _) => scope.content(entry, report).map(Kind::Content),
            (None, Some(Given::Content(pieces))) => {
                scope.check_content(&pieces, report);
                Some(Kind::Content(pieces))
            }
            (None, Some(Given::File(path))) => Some(Kind::File(path)),
            (None, None) => None,
        };
        scope.check_key(report);
        scope.check_progress(self.progress, report);
        let parts = Parts {
            kind: kind?,
            parameters,
            input: Arc::new(input?),
            bindings,
            questions,
            secrets: Arc::clone(&context.secrets),
        };
        Some(tool(name.clone(), settings, parts))
    }

    /// Reports leave to run unasked that no call could ever use.
    fn check_fallback(&self, report: &mut Report) {
        let Some(entry) = self.confirm_fallback else {
            return;
        };
        let (reason, help) = match (self.confirm, self.ask) {
            _ if self.settings.confirm_fallback != Some(Fallback::Allow) => return,
            (Some(_), None) => return,
            (None, None) => (
                "there is no `confirm`",
                "add `confirm` with the question, or remove the fallback",
            ),
            (_, Some(_)) => (
                "nothing can run without the values of `ask`",
                "remove the fallback",
            ),
        };
        let message = format!("`confirm_fallback: allow` has no effect: {reason}");
        report.add(Problem::error(Code::Value, entry.key.span, message).help(help));
    }

    /// Reports a challenge that nobody could ever get.
    fn check_step_up(&self, defaults: &Settings, report: &mut Report) {
        let Some(entry) = self.step_up.filter(|_| self.settings.step_up == Some(true)) else {
            return;
        };
        let is_allow_broken = self.allow.is_some() && self.settings.allow.is_none();
        if is_allow_broken || self.allow(defaults).names_scopes() {
            return;
        }
        let message = "`step_up` has no effect: `allow` asks for no scope";
        let help = "add the scope that a token may lack, such as `allow: [\"scope:files:write\"]`; \
                    who lacks anything else is told of nothing";
        report.add(Problem::error(Code::Value, entry.key.span, message).help(help));
    }

    /// Who may use this.
    pub(super) fn allow(&self, defaults: &Settings) -> Allow {
        self.settings.clone().or(defaults).access()
    }

    /// Reads what the caller of this brings.
    pub(super) fn parameters(&self, name: &str, report: &mut Report) -> Parameters {
        match (self.params, self.input_schema) {
            (None, None) => Parameters::default(),
            (Some(entry), None) => Parameters::read(entry, name, report),
            (params, Some(entry)) => {
                if params.is_some() {
                    let message = format!("`{name}` has both `params` and `input_schema`");
                    let problem = Problem::error(Code::Kind, entry.key.span, message);
                    report.add(problem.help("keep one of them"));
                }
                Parameters::read_whole(entry, name, report)
            }
        }
    }
}

fn tool(name: String, settings: Settings, parts: Parts) -> Tool {
    let allow = settings.access();
    let digest = match &parts.kind {
        Kind::Http(http) => settings.digest.and(http.api().digest),
        Kind::Exec(_) | Kind::Content(_) | Kind::File(_) => settings.digest,
    };
    let (effect, output) = match &parts.kind {
        Kind::Exec(_) => (Effect::Destructive, settings.output),
        Kind::Http(http) => {
            let effect = if http.is_safe() {
                Effect::Read
            } else {
                Effect::Destructive
            };
            (
                effect,
                Some(settings.output.unwrap_or_else(Output::of_response)),
            )
        }
        // What `defaults` say of an output is not meant for it.
        Kind::Content(_) | Kind::File(_) => (Effect::Read, None),
    };
    let effect = settings.effect.unwrap_or(effect);
    Tool {
        identity: format!("tool `{name}`"),
        digest,
        name,
        title: None,
        description: String::new(),
        annotations: Annotations::new(effect, settings.idempotent, settings.open_world),
        timeout: settings.timeout,
        max_output: settings.max_output.unwrap_or(DEFAULT_MAX_OUTPUT),
        icons: Vec::new(),
        stdin: match &parts.kind {
            Kind::Exec(exec) if exec.script.is_some() => Stdin::Json,
            _ => settings.stdin.unwrap_or_default(),
        },
        output: output.unwrap_or_default(),
        needs: settings.needs.unwrap_or_default(),
        task: None,
        confirm_fallback: settings.confirm_fallback.unwrap_or_default(),
        concurrency: settings.concurrency.unwrap_or_default(),
        rate: settings.rate,
        progress: settings.progress,
        messages: settings.messages.unwrap_or(false),
        exit: settings.exit,
        cancel: Cancel {
            signal: settings.signal.unwrap_or_default(),
            grace: settings.grace.unwrap_or(DEFAULT_GRACE),
        },
        allow,
        tags: settings.tags,
        parts,
    }
}
