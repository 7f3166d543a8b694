//! `call --dry-run`: what a call would do, without doing it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

use serde_json::{Value, json};

use super::bad_arguments;
use crate::auth::Caller;
use crate::catalog::{Arguments, Command, Request, Tool, Work};
use crate::console;
use crate::failure::Failure;
use crate::redact::Redactor;

/// Prints what one call would do.
pub(super) fn run(
    tool: &Tool,
    arguments: &Arguments,
    caller: &Caller,
    as_json: bool,
) -> Result<u8, Failure> {
    let questions = tool.questions(arguments, caller);
    let questions = questions.map_err(|error| bad_arguments(tool, &error))?;
    // What the user would be asked for is not known: its name stands for it.
    let forms: Vec<Value> = (questions.iter())
        .map(|question| json!({&question.name: format!("<{}>", question.name)}))
        .collect();
    let arguments = tool.filled(arguments, &forms);
    let work = tool.work(&arguments, caller);
    let work = work.map_err(|error| bad_arguments(tool, &error))?;
    let secrets = tool.secrets();
    let asked = questions.iter();
    let plan = Plan {
        asked: asked
            .map(|question| secrets.redact(&question.message))
            .collect(),
        stdin: work.input().map(|input| secrets.redact(input.trim_end())),
        work: &work,
        secrets,
    };
    console::print(if as_json { plan.json() } else { plan.text() })?;
    Ok(crate::EXIT_CLEAN)
}

/// What a call would do.
struct Plan<'a> {
    asked: Vec<Cow<'a, str>>,
    stdin: Option<Cow<'a, str>>,
    work: &'a Work,
    secrets: &'a Redactor,
}

impl Plan<'_> {
    fn text(&self) -> String {
        let asked = self.asked.iter().map(|message| format!("ask: {message}\n"));
        let asked: String = asked.collect();
        let work = match self.work {
            Work::Run(command) => self.command_text(command),
            Work::Send(request) => self.request_text(request),
            Work::Read(path) => format!("read {}\n", path.display()),
            Work::Answer(content) => {
                let pieces = content
                    .iter()
                    .map(|piece| format!("{}\n", piece.describe()));
                format!("answer:\n{}", pieces.collect::<String>())
            }
        };
        asked + &work
    }

    fn command_text(&self, command: &Command) -> String {
        let words = self.argv(command).into_iter().map(|word| quoted(&word));
        let workdir = self.workdir(command);
        let workdir = workdir.as_deref().unwrap_or("a private folder");
        let files = files(command).into_iter();
        format!(
            "{}\nworkdir: {workdir}\nstdin: {}\nenvironment: {}\n{}",
            words.collect::<Vec<_>>().join(" "),
            self.stdin.as_deref().unwrap_or("empty"),
            names(command).join(" "),
            files
                .map(|file| format!("file: {file}\n"))
                .collect::<Vec<_>>()
                .concat(),
        )
    }

    fn json(&self) -> String {
        let work = match self.work {
            Work::Run(command) => json!({
                "argv": self.argv(command),
                "workdir": self.workdir(command),
                "stdin": self.stdin,
                "environment": names(command),
                "files": files(command),
            }),
            Work::Send(request) => json!({
                "method": request.method.as_str(),
                "url": self.secrets.redact(request.url.as_str()),
                "headers": headers(request),
                "body": request.body.as_deref().map(|body| self.secrets.redact(body)),
            }),
            Work::Read(path) => json!({"file": path}),
            Work::Answer(content) => json!({"content": content}),
        };
        let mut plan = json!({"asks": self.asked});
        if let (Value::Object(plan), Value::Object(work)) = (&mut plan, work) {
            plan.extend(work);
        }
        serde_json::to_string_pretty(&plan).unwrap_or_default() + "\n"
    }

    /// The words of a command, its program first.
    fn argv(&self, command: &Command) -> Vec<String> {
        let arguments = command.arguments.iter().map(OsString::as_os_str);
        std::iter::once(command.program.as_os_str())
            .chain(arguments)
            .map(|word| self.shown(word))
            .collect()
    }

    fn workdir(&self, command: &Command) -> Option<String> {
        let workdir = command.workdir.as_deref()?;
        Some(self.shown(workdir.as_os_str()))
    }

    /// A text without its secrets.
    fn shown(&self, text: &OsStr) -> String {
        self.secrets.redact(&text.to_string_lossy()).into_owned()
    }

    fn request_text(&self, request: &Request) -> String {
        let body = request
            .body
            .as_deref()
            .map(|body| self.secrets.redact(body));
        format!(
            "{} {}\nheaders: {}\nbody: {}\n",
            request.method,
            self.secrets.redact(request.url.as_str()),
            headers(request).join(" "),
            body.as_deref().unwrap_or("none"),
        )
    }
}

/// The names of its headers. Their values may be secret.
fn headers(request: &Request) -> Vec<String> {
    let names = request.headers.keys().map(|name| name.as_str().to_owned());
    names.chain(request.api.auth_header_name()).collect()
}

/// The names of its variables. Their values may be secret.
fn names(command: &Command) -> Vec<String> {
    let names = command.environment.iter().map(|(name, _)| lossy(name));
    names.collect()
}

/// The files that would be written for it. What they hold may be secret.
fn files(command: &Command) -> Vec<String> {
    let folder = command.folder.iter();
    let files = folder.flat_map(|folder| {
        let names = folder.contents.iter();
        names.map(|(name, _)| folder.path.join(name))
    });
    files.map(|path| path.display().to_string()).collect()
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_is_one_word_for_a_shell() {
        let cases = [
            ("plain/word-1.txt", "plain/word-1.txt"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", "'it'\\''s'"),
            ("$(id)", "'$(id)'"),
            ("a\nb", "'a\nb'"),
        ];
        for (word, expected) in cases {
            assert_eq!(quoted(word), expected);
        }
    }
}
