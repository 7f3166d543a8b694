//! What the definition of something that runs is checked against, and fixed content.

use std::collections::HashSet;

use super::Context;
use crate::catalog::content::{self, Piece};
use crate::catalog::outbound::Http;
use crate::catalog::output::{Form, Stderr};
use crate::catalog::params::Parameters;
use crate::catalog::progress::Channel;
use crate::catalog::settings::Settings;
use crate::catalog::template::{self, Slot, Word};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::yaml::Entry;

/// What an action is checked against.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) name: &'a str,
    pub(super) parameters: &'a Parameters,
    pub(super) settings: &'a Settings,
    /// The entry of `files`.
    pub(super) files: Option<&'a Entry>,
    pub(super) may_ignore: bool,
    pub(super) context: &'a Context<'a>,
}

impl Scope<'_> {
    /// Reads a request.
    pub(super) fn http(self, entry: &Entry, report: &mut Report) -> Option<Http> {
        let http = Http::read(entry, self.context.apis, report)?;
        http.check(self.name, self.parameters, report);
        self.check_no_paths(report);
        self.check_used(http.slots(), report);
        Some(http)
    }

    /// Reads fixed content.
    pub(super) fn content(self, entry: &Entry, report: &mut Report) -> Option<Vec<Piece>> {
        let pieces = content::read(entry, self.context.folder(entry.key.span), report)?;
        self.check_content(&pieces, report);
        Some(pieces)
    }

    /// Checks fixed content that the caller has read.
    pub(super) fn check_content(self, pieces: &[Piece], report: &mut Report) {
        content::check(pieces, self.name, self.parameters, report);
        self.check_no_paths(report);
        self.check_used(pieces.iter().flat_map(Piece::slots), report);
    }

    /// Only a program can make something of the path of a file.
    fn check_no_paths(self, report: &mut Report) {
        let mut parameters = self.parameters.iter();
        if let Some(path) = parameters.find(|parameter| parameter.root.is_some()) {
            let message = format!("`{}` is a path, and no program gets it", path.name);
            let problem = Problem::error(Code::Schema, path.span, message);
            report.add(problem.help("declare it as `string`"));
        }
    }

    /// The key of `concurrency` may also name what is known of the caller.
    pub(super) fn check_key(self, report: &mut Report) {
        let concurrency = self.settings.concurrency.as_ref();
        let key = concurrency.and_then(|concurrency| concurrency.key.as_ref());
        let slots = key.into_iter().flat_map(Word::slots);
        for slot in slots.filter(|slot| slot.caller().is_none()) {
            template::check_declared(slot, self.name, self.parameters, report);
        }
    }

    /// Lines that say how far a program has come must be lines of their own.
    pub(super) fn check_progress(self, entry: Option<&Entry>, report: &mut Report) {
        let (Some(progress), Some(output)) = (&self.settings.progress, &self.settings.output)
        else {
            return;
        };
        let (message, help) = match (progress.from, &output.form, output.stderr) {
            (Channel::Stderr, _, Stderr::Merge) => (
                "with `stderr: merge` all lines are in the output",
                "write `from: stdout`",
            ),
            (Channel::Stdout, Form::Media(_), _) => (
                "bytes of a media type have no lines",
                "write `from: stderr`",
            ),
            _ => return,
        };
        if let Some(entry) = entry {
            report.add(Problem::error(Code::OutputClash, entry.key.span, message).help(help));
        }
    }

    /// Reports parameters that fill no place.
    pub(super) fn check_used<'s>(self, slots: impl Iterator<Item = &'s Slot>, report: &mut Report) {
        self.check_used_or(slots, |_| None, report);
    }

    /// The same, where more may be known of why one does not.
    pub(super) fn check_used_or<'s>(
        self,
        slots: impl Iterator<Item = &'s Slot>,
        reason: impl Fn(&str) -> Option<String>,
        report: &mut Report,
    ) {
        if self.may_ignore {
            return;
        }
        let used: HashSet<&str> = slots.map(|slot| slot.name.as_str()).collect();
        for parameter in self.parameters.iter() {
            let name = parameter.name.as_str();
            if !used.contains(name) {
                let message = format!("parameter `{name}` of `{}` is used nowhere", self.name);
                let help = reason(name).unwrap_or_else(|| {
                    format!(
                        "write `{{{name}}}` where its value belongs, or remove it: the model's value \
                         would be ignored"
                    )
                });
                report.add(Problem::error(Code::Unused, parameter.span, message).help(help));
            }
        }
    }
}
