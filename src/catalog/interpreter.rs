//! Interpreters that would run a caller's text as a program.
//!
//! Passing values word by word is no protection where the word itself is code: after `sh -c`, in
//! an `awk` program, after `eval`. The table names what people reach for, not everything that can
//! execute; it guards against the slip, and a sandbox guards against the rest.

mod program;
#[cfg(test)]
mod tests;

use super::template::{Declared, Slot, Template, Word};
use crate::document::diagnostic::{Code, Problem, Report};
use program::{Found, Means, Operands, Program};

/// How names of settings end whose values are programs or files of code, for git and ssh.
const RUNNING_SETTINGS: &[&str] = &[
    "askpass",
    "browser",
    "clean",
    "cmd",
    "command",
    "driver",
    "editor",
    "external",
    "filter",
    "fsmonitor",
    "gitproxy",
    "helper",
    "hook",
    "hookspath",
    "pager",
    "path",
    "process",
    "program",
    "provider",
    "receivepack",
    "smudge",
    "textconv",
    "uploadpack",
    "xauthlocation",
];
/// Sections of git whose settings are all such.
const RUNNING_SECTIONS: &[&str] = &["alias.", "filter.", "pager."];

/// Whether a command runs a shell.
pub(crate) fn is_shell(template: &Template) -> bool {
    let mut programs = template.words().filter_map(Word::literal);
    programs.any(program::is_shell)
}

/// Whether a shell may expand words of a command, there or elsewhere.
pub(crate) fn runs_a_shell(template: &Template) -> bool {
    let mut programs = template.words().filter_map(Word::literal);
    programs.any(program::runs_a_shell)
}

/// How many `--` must stand in a command before what follows cannot be an option: one, and one for
/// each wrapper, since `sudo -- tool {x}` ends the options of `sudo` and not those of the tool.
/// Words that only look like a wrapper are counted too, which errs on the safe side.
pub(crate) fn separators(template: &Template) -> usize {
    let literals = || template.words().filter_map(Word::literal);
    let programs = literals().filter_map(Program::named);
    1 + programs.filter(|program| program.wraps(literals())).count()
}

/// Reports each placeholder that an interpreter would run.
pub(crate) fn check(template: &Template, declared: Declared<'_>, report: &mut Report) {
    let words: Vec<&Word> = template.words().collect();
    if let Some((first, rest)) = words.split_first()
        && let Some(program) = first.literal()
    {
        Check { declared, report }.program(program, rest);
    }
}

/// What is checked, and where it is reported.
struct Check<'a> {
    declared: Declared<'a>,
    report: &'a mut Report,
}

/// Which values are no code, apart from those that the author listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harmless {
    /// Numbers.
    Numbers,
    /// Also those of letters and digits alone, which mean nothing to a shell.
    Plain,
}

impl Check<'_> {
    /// Reports what a program would run of its words.
    fn program(&mut self, name: &str, words: &[&Word]) {
        let Some(program) = Program::named(name) else {
            return;
        };
        if matches!(program.operands, Operands::Expanded) {
            return self.refuse_all(words, name, Harmless::Plain);
        }
        let mut operands = program.operands;
        let mut code = None;
        let (mut rest, mut may_be_option) = (words, true);
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            let option = program.option(word.prefix(), word.literal().is_some());
            if may_be_option && word.literal() == Some("--") {
                may_be_option = false;
            } else if let Some(option) = option.filter(|_| may_be_option) {
                let next = self.option(name, &option, word, rest);
                (operands, rest) = match (option.means, next) {
                    (_, None) => return,
                    (Means::Command, Some(rest)) => (Operands::Command, rest),
                    (Means::Code | Means::Stdin | Means::File, Some(rest)) => {
                        (without_code(operands), rest)
                    }
                    (_, Some(rest)) => (operands, rest),
                };
            } else if let (Operands::Code, None) = (operands, code) {
                code = Some(*word);
            } else if let Some(next) = self.operand(name, operands, word, rest) {
                operands = next;
            } else {
                return;
            }
        }
        if let (Operands::Code, Some(word)) = (operands, code) {
            self.refuse(word, name, Harmless::Numbers);
        }
    }

    /// Reports what an option would run; returns the words after it and its value, and `None` if they
    /// are not the program's.
    fn option<'w>(
        &mut self,
        program: &str,
        option: &Found<'w>,
        word: &'w Word,
        after: &'w [&'w Word],
    ) -> Option<&'w [&'w Word]> {
        let place = format!("{program} {}", option.name);
        match option.means {
            Means::Flag | Means::Attached | Means::Stdin => return Some(after),
            Means::Command if option.attached.is_none_or(|_| word.literal().is_some()) => {
                return Some(after);
            }
            Means::Rest => {
                self.refuse(word, &place, Harmless::Numbers);
                self.refuse_all(after, &place, Harmless::Numbers);
                return None;
            }
            Means::Program => {
                let is_end = |word: &&Word| matches!(word.literal(), Some(";" | "+"));
                let end = after.iter().position(is_end).unwrap_or(after.len());
                let (inner, rest) = after.split_at_checked(end)?;
                if let Some((first, words)) = inner.split_first() {
                    self.wrapped(&place, first, words);
                }
                return Some(rest);
            }
            _ => {}
        }
        let (value, begins, rest) = match (option.attached, after.split_first()) {
            (Some(begins), _) => (word, begins, after),
            (None, Some((value, rest))) => (*value, value.prefix(), rest),
            (None, None) => return None,
        };
        match option.means {
            Means::Code | Means::Prelude | Means::Command => {
                self.refuse(value, &place, Harmless::Numbers);
            }
            Means::Setting if may_run(begins) => self.refuse(value, &place, Harmless::Numbers),
            Means::Script => {
                self.script(program, value);
                return None;
            }
            _ => {}
        }
        Some(rest)
    }

    /// Reports what would be run of an operand; returns what those after it are, and `None` if all is said.
    fn operand(
        &mut self,
        program: &str,
        operands: Operands,
        word: &Word,
        after: &[&Word],
    ) -> Option<Operands> {
        match operands {
            Operands::Data | Operands::Code => return Some(operands),
            Operands::Other | Operands::Expanded => {}
            Operands::Script => self.script(program, word),
            Operands::Command => {
                self.refuse(word, &format!("{program} -c"), Harmless::Numbers);
            }
            Operands::Statements(0) => {
                self.refuse(word, program, Harmless::Numbers);
                self.refuse_all(after, program, Harmless::Numbers);
            }
            Operands::Statements(before) => return Some(Operands::Statements(before - 1)),
            Operands::ShellWords(0) => {
                let harmless = match word.prefix() {
                    "" => Harmless::Numbers,
                    _ => Harmless::Plain,
                };
                self.refuse(word, program, harmless);
                self.refuse_all(after, program, Harmless::Plain);
            }
            Operands::ShellWords(before) => return Some(Operands::ShellWords(before - 1)),
            // A variable for the program.
            Operands::Program(_) if word.prefix().contains('=') => return Some(operands),
            Operands::Program(0) => self.wrapped(program, word, after),
            Operands::Program(before) => return Some(Operands::Program(before - 1)),
            Operands::OfImage(0) => {
                if let Some(inner) = word.literal() {
                    self.program(inner, after);
                }
            }
            Operands::OfImage(before) => return Some(Operands::OfImage(before - 1)),
            Operands::Somewhere => {
                let inner = word.literal().filter(|text| Program::named(text).is_some());
                let Some(inner) = inner else {
                    return Some(operands);
                };
                self.program(inner, after);
            }
            Operands::Subcommand(sub) => {
                let name = word.literal()?;
                if sub.groups.contains(&name) {
                    return Some(operands);
                }
                if sub.runs.contains(&name) {
                    return Some(Operands::Program(sub.before));
                }
                if sub.images.contains(&name) {
                    return Some(Operands::OfImage(sub.before));
                }
            }
        }
        None
    }

    /// Reports a program that the caller chooses for a wrapper to run, or what a fixed one would run.
    fn wrapped(&mut self, wrapper: &str, word: &Word, after: &[&Word]) {
        if let Some(inner) = word.literal() {
            return self.program(inner, after);
        }
        let by_caller = |slot: &&Slot| !self.declared.is_chosen_by_author(slot);
        if let Some(slot) = word.slots().find(by_caller) {
            self.report.add(chosen_by_caller(wrapper, slot));
        }
    }

    /// Reports a script that the caller names, or that holds what the caller says.
    fn script(&mut self, program: &str, word: &Word) {
        for slot in word.slots() {
            let of_file = slot.file().and_then(|name| self.declared.files.get(name));
            let says = match (slot.file(), of_file) {
                (Some(_), None) => continue,
                (Some(_), Some(file)) if file.text.slots().next().is_none() => continue,
                (Some(_), Some(_)) => "what the caller wrote into",
                (None, _) if self.declared.is_chosen_by_author(slot) => continue,
                (None, _) => "the script that the caller names in",
            };
            let message = format!("`{program}` would run {says} `{}`", slot.name);
            let help = "write the script first and pass the value after it, or list the scripts in \
                        an `enum`; `unsafe_code: true` to insist";
            self.report
                .add(Problem::error(Code::InterpreterCode, slot.span, message).help(help));
        }
    }

    fn refuse_all(&mut self, words: &[&Word], place: &str, harmless: Harmless) {
        for word in words {
            self.refuse(word, place, harmless);
        }
    }

    fn refuse(&mut self, word: &Word, place: &str, harmless: Harmless) {
        let help = match harmless {
            Harmless::Numbers => {
                "pass the value as data, as an argument of a script or through `env`, or list \
                 the values in an `enum`; `unsafe_code: true` to insist"
            }
            Harmless::Plain => {
                "add a `pattern` such as \"^[A-Za-z0-9_-]+$\", or list the values in an `enum`; \
                 `unsafe_code: true` to insist"
            }
        };
        for slot in word.slots() {
            let is_plain = harmless == Harmless::Plain && self.declared.is_plain(slot);
            if is_plain || !self.declared.may_be_code(slot) {
                continue;
            }
            let message = format!(
                "`{place}` would run the caller's text in `{}` as code",
                slot.name
            );
            self.report
                .add(Problem::error(Code::InterpreterCode, slot.span, message).help(help));
        }
    }
}

/// What operands are when an option brings the code.
fn without_code(operands: Operands) -> Operands {
    match operands {
        Operands::Script | Operands::Code => Operands::Data,
        _ => operands,
    }
}

/// Whether a setting that begins so may decide what is run.
fn may_run(begins: &str) -> bool {
    let Some((name, _)) = begins.split_once(['=', ' ']) else {
        return true;
    };
    let name = name.to_ascii_lowercase();
    RUNNING_SETTINGS.iter().any(|known| name.ends_with(known))
        || RUNNING_SECTIONS.iter().any(|known| name.starts_with(known))
}

fn chosen_by_caller(wrapper: &str, slot: &Slot) -> Problem {
    let message = format!(
        "`{wrapper}` would run the program that the caller names in `{}`",
        slot.name
    );
    let help =
        "write the program, or list the programs in an `enum`; `unsafe_code: true` to insist";
    Problem::error(Code::ProgramPlaceholder, slot.span, message).help(help)
}
