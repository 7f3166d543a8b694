//! `defaults`: what tools do not say themselves.

use std::collections::HashMap;
use std::sync::Arc;

use super::Context;
use crate::catalog::ToolDigest;
use crate::catalog::settings::{self, Settings};
use crate::document::diagnostic::{Report, Span};
use crate::document::reader;
use crate::document::yaml::Entry;

/// What holds for the things of each file: its own `defaults`, and then those of the first file.
pub(super) struct Defaults {
    first: Settings,
    /// By the offsets where their files start.
    own: HashMap<usize, Settings>,
}

impl Defaults {
    /// `included` are the entries of included files.
    pub(super) fn new(
        first: Settings,
        included: &[Entry],
        context: &Context<'_>,
        report: &mut Report,
    ) -> Self {
        let own = included.iter().map(|entry| {
            let settings = read(entry, context, report).or(&first);
            (file(entry.key.span, context), settings)
        });
        Self {
            own: own.collect(),
            first,
        }
    }

    /// Reads each thing of a section with the defaults that hold for it.
    pub(super) fn read_each<T>(
        &self,
        section: &Entry,
        context: &Context<'_>,
        report: &mut Report,
        mut read: impl FnMut(&Entry, &Settings, &Context<'_>, &mut Report) -> Option<T>,
    ) -> Vec<Arc<T>> {
        let entries = reader::mapping(section, report).unwrap_or_default();
        (entries.iter())
            .filter_map(|entry| read(entry, self.of(entry, context), context, report))
            .map(Arc::new)
            .collect()
    }

    /// The defaults of what an entry defines.
    fn of(&self, entry: &Entry, context: &Context<'_>) -> &Settings {
        let own = self.own.get(&file(entry.key.span, context));
        own.unwrap_or(&self.first)
    }
}

fn file(place: Span, context: &Context<'_>) -> usize {
    context.sources.at(place.start).base
}

/// Reads the entry of one file.
pub(super) fn read(entry: &Entry, context: &Context<'_>, report: &mut Report) -> Settings {
    let mut settings = Settings {
        digest: ToolDigest::of(entry),
        ..Settings::default()
    };
    for entry in reader::mapping(entry, report).unwrap_or_default() {
        if !settings.read(entry, report) {
            reader::unknown_key(entry, "`defaults`", settings::KEYS, report);
        }
    }
    if let Some(allow) = &settings.allow {
        let subject = "what has no `allow` of its own";
        allow.check(subject, context.environment.grants(), report);
    }
    settings
}
