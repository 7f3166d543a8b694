//! The keys that a tool and `defaults` share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::allow::Allow;
use super::concurrency::{Concurrency, Rate};
use super::output::Output;
use super::progress::ProgressLines;
use super::question::Fallback;
use super::sandbox::Sandbox;
use super::tags;
use super::template::{Word, segments};
use super::tool::{Effect, ExitRules, Signal, Stdin, ToolDigest};
use super::variable;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::yaml::{Entry, Key, Scalar};
use crate::protocol::capabilities::Capability;

/// The keys that are read here.
pub(crate) const KEYS: &[&str] = &[
    "timeout",
    "max_output",
    "stdin",
    "output",
    "needs",
    "messages",
    "exit",
    "effect",
    "idempotent",
    "open_world",
    "if_missing",
    "allow",
    "step_up",
    "tags",
    "workdir",
    "env",
    "inherit_env",
    "sandbox",
    "cancel",
    "confirm_fallback",
    "concurrency",
    "rate",
    "progress",
];

/// Those of them that say who may use it and where it is served, not how it runs.
pub(crate) const ACCESS_KEYS: &[&str] = &["allow", "step_up", "tags"];

/// A variable of the child's environment, with placeholders.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) name: Key,
    pub(crate) value: Word,
}

/// The folder that a program runs in.
#[derive(Clone, Debug)]
pub(crate) struct Workdir {
    pub(crate) path: String,
    /// Where it stands: a relative path starts at the folder of that file.
    pub(crate) place: Span,
}

/// What a tool or `defaults` says; what it leaves open is `None` or empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_output: Option<usize>,
    pub(crate) stdin: Option<Stdin>,
    pub(crate) output: Option<Output>,
    pub(crate) needs: Option<BTreeSet<Capability>>,
    pub(crate) messages: Option<bool>,
    pub(crate) exit: ExitRules,
    pub(crate) effect: Option<Effect>,
    pub(crate) idempotent: Option<bool>,
    pub(crate) open_world: Option<bool>,
    pub(crate) hide_if_missing: bool,
    pub(crate) allow: Option<Allow>,
    pub(crate) step_up: Option<bool>,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) workdir: Option<Workdir>,
    pub(crate) env: Vec<Variable>,
    pub(crate) inherit_env: Vec<String>,
    pub(crate) sandbox: Option<Sandbox>,
    pub(crate) signal: Option<Signal>,
    pub(crate) grace: Option<Duration>,
    pub(crate) confirm_fallback: Option<Fallback>,
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) rate: Option<Rate>,
    pub(crate) progress: Option<ProgressLines>,
    /// Of all `defaults` that are among them.
    pub(crate) digest: ToolDigest,
}

impl Settings {
    /// Reads one key; returns whether it is one of ours.
    pub(crate) fn read(&mut self, entry: &Entry, report: &mut Report) -> bool {
        match entry.key.text.as_str() {
            "timeout" => self.timeout = timeout(entry, report),
            "max_output" => self.max_output = reader::size(entry, report),
            "stdin" => self.stdin = reader::choice(entry, &[("json", Stdin::Json)], report),
            "output" => self.output = Output::read(entry, report),
            "needs" => self.needs = needs(entry, report),
            "messages" => self.messages = reader::boolean(entry, report),
            "exit" => self.exit = exit(entry, report),
            "effect" => {
                let choices = [
                    ("read", Effect::Read),
                    ("write", Effect::Write),
                    ("destructive", Effect::Destructive),
                ];
                self.effect = reader::choice(entry, &choices, report);
            }
            "idempotent" => self.idempotent = reader::boolean(entry, report),
            "open_world" => self.open_world = reader::boolean(entry, report),
            "if_missing" => {
                let hide = reader::choice(entry, &[("hide", true)], report);
                self.hide_if_missing = hide.unwrap_or(false);
            }
            "allow" => self.allow = Allow::read(entry, report),
            "step_up" => self.step_up = reader::boolean(entry, report),
            "tags" => self.tags = tags::read(entry, report),
            "workdir" => self.workdir = workdir(entry, report),
            "env" => self.env = env(entry, report),
            "inherit_env" => self.inherit_env = inherit_env(entry, report),
            "sandbox" => self.sandbox = Sandbox::read(entry, report),
            "cancel" => self.cancel(entry, report),
            "concurrency" => self.concurrency = Concurrency::read(entry, report),
            "rate" => self.rate = Rate::read(entry, report),
            "progress" => self.progress = ProgressLines::read(entry, report),
            "confirm_fallback" => {
                let choices = [("deny", Fallback::Deny), ("allow", Fallback::Allow)];
                self.confirm_fallback = reader::choice(entry, &choices, report);
            }
            _ => return false,
        }
        true
    }

    /// Fills what is left open with the defaults. `env` and `exit` are joined key by key, and
    /// `inherit_env` and `tags` are joined; what the tool says itself wins.
    pub(crate) fn or(self, defaults: &Self) -> Self {
        let own = |variable: &&Variable| {
            !(self.env.iter()).any(|own| own.name.text == variable.name.text)
        };
        let mut env: Vec<_> = defaults.env.iter().filter(own).cloned().collect();
        env.extend(self.env.iter().cloned());
        let mut inherit_env = defaults.inherit_env.clone();
        inherit_env.extend(self.inherit_env);
        Self {
            timeout: self.timeout.or(defaults.timeout),
            max_output: self.max_output.or(defaults.max_output),
            stdin: self.stdin.or(defaults.stdin),
            output: self.output.or_else(|| defaults.output.clone()),
            needs: self.needs.or_else(|| defaults.needs.clone()),
            messages: self.messages.or(defaults.messages),
            exit: self.exit.or(&defaults.exit),
            effect: self.effect.or(defaults.effect),
            idempotent: self.idempotent.or(defaults.idempotent),
            open_world: self.open_world.or(defaults.open_world),
            hide_if_missing: self.hide_if_missing || defaults.hide_if_missing,
            allow: self.allow.or_else(|| defaults.allow.clone()),
            step_up: self.step_up.or(defaults.step_up),
            tags: &self.tags | &defaults.tags,
            workdir: self.workdir.or_else(|| defaults.workdir.clone()),
            env,
            inherit_env,
            sandbox: self.sandbox.or_else(|| defaults.sandbox.clone()),
            signal: self.signal.or(defaults.signal),
            grace: self.grace.or(defaults.grace),
            confirm_fallback: self.confirm_fallback.or(defaults.confirm_fallback),
            concurrency: self.concurrency.or_else(|| defaults.concurrency.clone()),
            rate: self.rate.or(defaults.rate),
            progress: self.progress.or_else(|| defaults.progress.clone()),
            digest: self.digest.and(defaults.digest),
        }
    }

    /// Who may use it.
    pub(crate) fn access(&self) -> Allow {
        let allow = self.allow.clone().unwrap_or_default();
        allow.with_step_up(self.step_up.unwrap_or(false))
    }

    fn cancel(&mut self, entry: &Entry, report: &mut Report) {
        for entry in reader::mapping(entry, report).unwrap_or_default() {
            match entry.key.text.as_str() {
                "signal" => self.signal = reader::choice(entry, Signal::NAMES, report),
                "grace" => self.grace = reader::duration(entry, report),
                _ => reader::unknown_key(entry, "`cancel`", &["signal", "grace"], report),
            }
        }
    }
}

fn needs(entry: &Entry, report: &mut Report) -> Option<BTreeSet<Capability>> {
    let names = Capability::ALL.map(|capability| (capability.as_str(), capability));
    let mut needs = BTreeSet::new();
    for node in reader::list(entry, report)? {
        needs.extend(reader::item(node, &names, report));
    }
    Some(needs)
}

fn timeout(entry: &Entry, report: &mut Report) -> Option<Duration> {
    let timeout = reader::duration(entry, report)?;
    if timeout.is_zero() {
        let message = "a call cannot end before it begins";
        let problem = Problem::error(Code::Value, entry.place(), message);
        report.add(problem.help("write the longest time that a call may take, such as `30s`"));
        return None;
    }
    Some(timeout)
}

fn workdir(entry: &Entry, report: &mut Report) -> Option<Workdir> {
    let scalar = entry.value.scalar();
    let path = reader::text(entry, report)?;
    let word = segments(scalar?, report);
    if word.slots().next().is_some() {
        let problem = Problem::error(
            Code::Value,
            entry.place(),
            "`workdir` is fixed and takes no placeholders",
        );
        report.add(problem.help("pass the folder as an argument of the program"));
        return None;
    }
    let place = entry.key.span;
    Some(Workdir { path, place })
}

fn exit(entry: &Entry, report: &mut Report) -> ExitRules {
    let mut rules = BTreeMap::new();
    for entry in reader::mapping(entry, report).unwrap_or_default() {
        let code = entry.key.text.parse::<u8>().ok().filter(|code| *code > 0);
        let Some(code) = code else {
            let message = format!(
                "`{}` is not an exit code with a meaning of its own",
                entry.key.text
            );
            let problem = Problem::error(Code::Value, entry.key.span, message);
            report.add(problem.help("exit codes are 1 to 255; 0 always means success"));
            continue;
        };
        match reader::text(entry, report).as_deref() {
            Some("ok") => {
                rules.insert(code, None);
            }
            Some(text) if means_ok(text) => {
                let message = format!("`{text}` would be the message of an error");
                let problem = Problem::error(Code::Value, entry.place(), message);
                report.add(problem.help("did you mean `ok`?"));
            }
            Some(text) if !text.trim().is_empty() => {
                rules.insert(code, Some(text.to_owned()));
            }
            Some(_) => reader::wrong_value(entry, "`ok` or a message for the model", report),
            None => {}
        }
    }
    ExitRules::new(rules)
}

/// True for what people write for `ok`, and nobody would tell a model as an error.
fn means_ok(text: &str) -> bool {
    const WORDS: &[&str] = &["ok", "okay", "pass", "success", "successful", "true", "yes"];
    let text = text.trim().to_ascii_lowercase();
    WORDS.contains(&text.as_str())
}

fn env(entry: &Entry, report: &mut Report) -> Vec<Variable> {
    let mut variables = Vec::new();
    for entry in reader::mapping(entry, report).unwrap_or_default() {
        let named = variable::check_name(&entry.key.text, entry.key.span, report);
        let Some(scalar) = entry.value.scalar().filter(|scalar| !scalar.is_null()) else {
            reader::wrong_value(entry, "a text", report);
            continue;
        };
        if let Some(value) = value(scalar, report).filter(|_| named) {
            let name = entry.key.clone();
            variables.push(Variable { name, value });
        }
    }
    variables
}

fn value(scalar: &Scalar, report: &mut Report) -> Option<Word> {
    let word = segments(scalar, report);
    if scalar.text.contains('\0') {
        let message = "a variable cannot hold NUL";
        report.add(Problem::error(Code::Value, word.span, message));
        return None;
    }
    Some(word)
}

fn inherit_env(entry: &Entry, report: &mut Report) -> Vec<String> {
    let mut names = Vec::new();
    for node in reader::list(entry, report).unwrap_or_default() {
        match node.scalar() {
            Some(scalar) if variable::check_name(&scalar.text, node.span, report) => {
                names.push(scalar.text.clone());
            }
            Some(_) => {}
            None => {
                let message = format!(
                    "an item must be the name of a variable, not {}",
                    node.kind()
                );
                report.add(Problem::error(Code::Value, entry.key.span, message));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use crate::catalog::tool::{ExitMeaning, ExitRules};

    #[test]
    fn exit_codes_have_meanings() {
        let rules = [(1, None), (3, Some("Unknown customer.".to_owned()))];
        let rules = ExitRules::new(rules.into_iter().collect());
        let cases = [
            (0, ExitMeaning::Ok),
            (1, ExitMeaning::Ok),
            (3, ExitMeaning::Message("Unknown customer.")),
            (2, ExitMeaning::Error),
            (256, ExitMeaning::Error),
            (-1, ExitMeaning::Error),
        ];
        for (code, expected) in cases {
            assert_eq!(rules.meaning(code), expected, "{code}");
        }
    }
}
