//! What the definition of something that runs is checked against, and fixed content.

use std::collections::HashSet;

use super::Context;
use crate::catalog::content::{self, Piece};
use crate::catalog::params::Parameters;
use crate::catalog::settings::Settings;
use crate::catalog::template::Slot;
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
    /// Reads fixed content.
    pub(super) fn content(self, entry: &Entry, report: &mut Report) -> Option<Vec<Piece>> {
        let pieces = content::read(entry, self.context.folder(entry.key.span), report)?;
        self.check_content(&pieces, report);
        Some(pieces)
    }

    /// Checks fixed content that the caller has read.
    pub(super) fn check_content(self, pieces: &[Piece], report: &mut Report) {
        content::check(pieces, self.name, self.parameters, report);
        let mut parameters = self.parameters.iter();
        if let Some(path) = parameters.find(|parameter| parameter.root.is_some()) {
            let message = format!("`{}` is a path, and no program gets it", path.name);
            let problem = Problem::error(Code::Schema, path.span, message);
            report.add(problem.help("declare it as `string`"));
        }
        self.check_used(pieces.iter().flat_map(Piece::slots), report);
    }

    /// Reports parameters that fill no place.
    pub(super) fn check_used<'s>(self, slots: impl Iterator<Item = &'s Slot>, report: &mut Report) {
        if self.may_ignore {
            return;
        }
        let used: HashSet<&str> = slots.map(|slot| slot.name.as_str()).collect();
        for parameter in self.parameters.iter() {
            let name = parameter.name.as_str();
            if !used.contains(name) {
                let message = format!("parameter `{name}` of `{}` is used nowhere", self.name);
                let help = format!(
                    "write `{{{name}}}` where its value belongs, or remove it: the model's value \
                     would be ignored"
                );
                report.add(Problem::error(Code::Unused, parameter.span, message).help(help));
            }
        }
    }
}
