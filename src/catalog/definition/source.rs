//! What a tool is made of: the table of its kinds, and the keys that mean nothing to some of them.

use super::about::Subject;
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::yaml::Entry;

/// A kind of tool, by the key that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Exec,
    Http,
    Script,
    Content,
}

impl Source {
    /// The keys, in the order in which they are proposed.
    pub(super) const ALL: &[(&str, Self)] = &[
        ("exec", Self::Exec),
        ("http", Self::Http),
        ("script", Self::Script),
        ("content", Self::Content),
    ];

    /// What to write for one.
    fn advice(self) -> &'static str {
        match self {
            Self::Exec => "`exec` with a command line",
            Self::Http => "`http` with a request",
            Self::Script => "`script` with a script",
            Self::Content => "`content` with a fixed answer",
        }
    }

    /// The problem of a key of what runs that would say nothing about this.
    fn check_key(self, subject: Subject<'_>, entry: &Entry) -> Option<Problem> {
        let key = entry.key.text.as_str();
        match self {
            Self::Script if key == UNSAFE_CODE => Some(never_unsafe(entry)),
            Self::Http if OF_PROGRAMS.contains(&key) => Some(of_no_use(subject, entry)),
            Self::Content if OF_PROGRAMS.contains(&key) || OF_OUTPUT.contains(&key) => {
                Some(of_no_use(subject, entry))
            }
            Self::Exec | Self::Http | Self::Script | Self::Content => None,
        }
    }
}

/// The keys that only a program has.
const OF_PROGRAMS: &[&str] = &[
    "cancel",
    "env",
    "exit",
    "files",
    "if_missing",
    "inherit_env",
    "messages",
    "progress",
    "sandbox",
    "stdin",
    UNSAFE_CODE,
    "workdir",
];
/// Lets values be code.
const UNSAFE_CODE: &str = "unsafe_code";
/// The keys of what takes time and has an output, unlike fixed content.
const OF_OUTPUT: &[&str] = &["max_output", "output", "timeout"];

/// The one thing that a tool is made of; what is missing or too much is reported.
pub(super) fn check_one<'a>(
    subject: Subject<'_>,
    sources: &[(Source, &'a Entry)],
    report: &mut Report,
) -> Option<(Source, &'a Entry)> {
    match sources {
        [] => {
            let message = format!("{subject} has nothing to run");
            let advice: Vec<_> = (Source::ALL.iter())
                .map(|(_, source)| source.advice())
                .collect();
            let help = format!("add {}", advice.join(", or "));
            report.add(Problem::error(Code::Kind, subject.key.span, message).help(help));
            None
        }
        [one] => Some(*one),
        [(_, one), (_, other), ..] => {
            report.add(both(subject, one, other));
            None
        }
    }
}

/// Two keys of which only one can be.
pub(super) fn both(subject: Subject<'_>, one: &Entry, other: &Entry) -> Problem {
    let (one, two) = (&one.key.text, &other.key.text);
    let message = format!("{subject} has both `{one}` and `{two}`");
    Problem::error(Code::Kind, other.key.span, message).help("keep one of them")
}

/// Reports the keys that would do nothing for a tool of a kind.
pub(super) fn check_keys(
    subject: Subject<'_>,
    source: Source,
    entries: &[&Entry],
    report: &mut Report,
) {
    for entry in entries {
        if let Some(problem) = source.check_key(subject, entry) {
            report.add(problem);
        }
    }
}

fn never_unsafe(entry: &Entry) -> Problem {
    let message = format!("`{UNSAFE_CODE}` has no effect: no value is ever part of a script");
    Problem::error(Code::UnknownKey, entry.key.span, message).help("remove it")
}

/// A key that would do nothing.
pub(super) fn of_no_use(subject: Subject<'_>, entry: &Entry) -> Problem {
    let message = format!(
        "`{}` is for a program, and {subject} runs none",
        entry.key.text
    );
    Problem::error(Code::UnknownKey, entry.key.span, message).help("remove it, or use `exec`")
}
