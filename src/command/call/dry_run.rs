//! `call --dry-run`: what a call would do, without doing it.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::{Value, json};

use super::bad_arguments;
use crate::auth::Caller;
use crate::catalog::{Arguments, Command, Tool, Work};
use crate::console;
use crate::failure::Failure;

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
    let asked = questions.iter().map(|question| question.message.as_str());
    let plan = Plan {
        asked: asked.collect(),
        stdin: stdin(&work),
        work: &work,
    };
    console::print(if as_json { plan.json() } else { plan.text() })?;
    Ok(crate::EXIT_CLEAN)
}

/// What the program would find on its standard input, without the end of the line.
fn stdin(work: &Work) -> Option<String> {
    match work {
        Work::Run(command) => command
            .input
            .as_deref()
            .map(|line| line.trim_end().to_owned()),
        Work::Answer(_) | Work::Read(_) => None,
    }
}

/// What a call would do.
struct Plan<'a> {
    asked: Vec<&'a str>,
    stdin: Option<String>,
    work: &'a Work,
}

impl Plan<'_> {
    fn text(&self) -> String {
        let asked = self.asked.iter().map(|message| format!("ask: {message}\n"));
        let asked: String = asked.collect();
        let work = match self.work {
            Work::Run(command) => self.command_text(command),
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
        let words = argv(command).into_iter().map(|word| quoted(&word));
        let workdir = command.workdir.as_deref();
        let workdir = workdir.map_or("a private empty folder".into(), Path::to_string_lossy);
        format!(
            "{}\nworkdir: {workdir}\nstdin: {}\nenvironment: {}\n",
            words.collect::<Vec<_>>().join(" "),
            self.stdin.as_deref().unwrap_or("empty"),
            names(command).join(" "),
        )
    }

    fn json(&self) -> String {
        let work = match self.work {
            Work::Run(command) => json!({
                "argv": argv(command),
                "workdir": command.workdir,
                "stdin": self.stdin,
                "environment": names(command),
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
}

/// The words of a command, its program first.
fn argv(command: &Command) -> Vec<String> {
    let arguments = command.arguments.iter().map(|word| lossy(word));
    std::iter::once(lossy(command.program.as_os_str()))
        .chain(arguments)
        .collect()
}

/// The names of its variables. Their values may be secret.
fn names(command: &Command) -> Vec<String> {
    let names = command.environment.iter().map(|(name, _)| lossy(name));
    names.collect()
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
