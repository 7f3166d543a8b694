//! `check`: what serving would say of the definitions, the auth file, the options and the place of the
//! audit log, all at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::{Setup, table};
use crate::auth::WayIn;
use crate::catalog::{Catalog, Grants, Loaded};
use crate::cli::{self, Check, CheckFormat, Source};
use crate::config::{self, Config};
use crate::console::{self, Console};
use crate::document::{Diagnostic, LoadError, Place, Severity};
use crate::failure::Failure;

/// Checks everything, and returns the exit code that serving would end with before it listens.
pub(super) fn run(options: &Check, setup: Setup) -> Result<u8, Failure> {
    let console = setup.console;
    let verdict = Verdict::new(setup);
    match options.format {
        CheckFormat::Text => verdict.tell(console, options.verbose)?,
        CheckFormat::Json => console::print(verdict.json(options.strict))?,
    }
    Ok(if verdict.is_ok(options.strict) {
        crate::EXIT_CLEAN
    } else {
        crate::EXIT_USAGE
    })
}

/// How many ways to be let in are shown to people: an auth file may have thousands.
const MAX_WAYS_IN: usize = 100;

/// What was found.
struct Verdict {
    file: PathBuf,
    errors: Vec<anyhow::Error>,
    /// About what has no place in a file.
    warnings: Vec<String>,
    /// What the options mean on this machine, such as a listener that everybody can reach. They may
    /// be meant, so that they are no problems.
    notes: Vec<String>,
    /// About places in files.
    diagnostics: Vec<Diagnostic>,
    /// What would be served, unless the definitions have errors.
    catalog: Option<Catalog>,
    /// How callers are let in, unless that cannot be read.
    ways_in: Vec<WayIn>,
    settings: cli::Settings,
}

impl Verdict {
    fn new(setup: Setup) -> Self {
        let mut verdict = Self {
            file: setup.tools().to_owned(),
            errors: Vec::new(),
            warnings: setup.unknown_variables(),
            notes: Vec::new(),
            diagnostics: Vec::new(),
            catalog: None,
            ways_in: Vec::new(),
            settings: setup.parsed.settings.clone(),
        };
        // Also when something else is wrong with the options.
        let grants = match config::authenticator(&setup.parsed.cli, setup.environment.variables()) {
            Ok((authenticator, _)) => {
                verdict.ways_in = authenticator.ways_in();
                Grants::of(&authenticator)
            }
            Err(_) => Grants::Any,
        };
        let loaded = setup.load(grants);
        match Config::new(setup.parsed, setup.environment.variables()) {
            Ok(config) => {
                verdict.notes.extend(config.warnings);
                verdict.diagnostics.extend(config.auth_warnings);
            }
            Err(errors) => verdict.errors.extend(errors),
        }
        match loaded {
            Ok(Loaded {
                catalog, warnings, ..
            }) => {
                verdict.diagnostics.extend(warnings);
                if catalog.is_empty() {
                    verdict.warnings.push(crate::SERVES_NOTHING.to_owned());
                }
                verdict.catalog = Some(catalog);
            }
            Err(error) => verdict.errors.push(error.into()),
        }
        verdict
    }

    fn is_ok(&self, strict: bool) -> bool {
        self.count(Severity::Error) == 0 && !(strict && self.count(Severity::Warning) > 0)
    }

    /// All that has a place, errors and warnings.
    fn placed(&self) -> impl Iterator<Item = &Diagnostic> {
        let files = self.errors.iter();
        let files = files.filter_map(|error| error.downcast_ref::<LoadError>());
        files
            .flat_map(LoadError::diagnostics)
            .chain(&self.diagnostics)
    }

    /// The errors about options.
    fn unplaced(&self) -> impl Iterator<Item = &anyhow::Error> {
        self.errors.iter().filter(|error| !error.is::<LoadError>())
    }

    fn count(&self, severity: Severity) -> usize {
        let placed = self.placed();
        let placed = placed.filter(|diagnostic| diagnostic.severity() == severity);
        placed.count()
            + match severity {
                Severity::Error => self.unplaced().count(),
                Severity::Warning => self.warnings.len(),
            }
    }

    /// The problems as serving says them, then what counts, and the verdict last.
    fn tell(&self, console: Console, is_verbose: bool) -> anyhow::Result<()> {
        for error in &self.errors {
            console.error(error);
        }
        for diagnostic in &self.diagnostics {
            console.diagnostic(diagnostic);
        }
        for warning in &self.warnings {
            console::tell(&format!("warning: {warning}"));
        }
        for note in &self.notes {
            console::tell(&format!("note: {note}"));
        }
        let configuration = titled("configuration", &self.rows(is_verbose));
        let callers = titled("callers", &self.callers());
        console::print(format!("{configuration}{callers}{}\n", self.summary()))
    }

    /// How callers are let in, the first of many.
    fn callers(&self) -> Vec<[String; 3]> {
        let ways_in = self.ways_in.iter().take(MAX_WAYS_IN);
        let rows = ways_in.map(|way| [way.kind.to_owned(), way.name.clone(), way.about.join("; ")]);
        let left_out = self.ways_in.len().saturating_sub(MAX_WAYS_IN);
        let more =
            (left_out > 0).then(|| [format!("and {left_out} more"), String::new(), String::new()]);
        rows.chain(more).collect()
    }

    fn summary(&self) -> String {
        let problems: Vec<_> = [
            (self.count(Severity::Error), "error"),
            (self.count(Severity::Warning), "warning"),
        ]
        .into_iter()
        .filter_map(|(count, noun)| counted(count, noun))
        .collect();
        let problems = if problems.is_empty() {
            "no problems".to_owned()
        } else {
            problems.join(", ")
        };
        if self.count(Severity::Error) > 0 {
            return format!("nothing would be served: {problems}");
        }
        let served = self.served();
        let mut parts: Vec<_> = (served.iter())
            .filter_map(|(noun, count)| counted(*count, noun))
            .collect();
        parts.push(problems);
        format!("{}: {}", self.file.display(), parts.join(", "))
    }

    /// How many of what would be served.
    fn served(&self) -> Vec<(&'static str, usize)> {
        let Some(catalog) = &self.catalog else {
            return Vec::new();
        };
        vec![
            ("tool", catalog.tools().len()),
            ("prompt", catalog.prompts().len()),
            ("resource", catalog.resources().len()),
            ("resource template", catalog.templates().len()),
        ]
    }

    /// What counts and what set it, defaults only if they are of interest.
    fn rows(&self, has_defaults: bool) -> Vec<[String; 3]> {
        let names = self.catalog.iter().filter(|_| has_defaults);
        let of_file = names.map(|catalog| {
            let file = self.file.display().to_string();
            ["name".to_owned(), catalog.server().name.clone(), file]
        });
        let settings = self.settings.all().iter();
        let settings = settings.filter(|setting| has_defaults || setting.source != Source::Default);
        let options = settings.map(|setting| {
            let source = match setting.source {
                Source::Default => "default",
                Source::Environment => &setting.variable,
                Source::CommandLine => "command line",
            };
            let value = if setting.values.is_empty() {
                "not set".to_owned()
            } else {
                setting.values.join(",")
            };
            [setting.option.clone(), value, source.to_owned()]
        });
        options.chain(of_file).collect()
    }

    /// The same for programs. The form is described in `docs/commands.md`.
    fn json(&self, strict: bool) -> String {
        let placed = self.placed().map(Problem::placed);
        let errors = self
            .unplaced()
            .map(|error| Problem::unplaced("error", format!("{error:#}")));
        let warnings = self.warnings.iter();
        let warnings = warnings.map(|warning| Problem::unplaced("warning", warning.clone()));
        let notes = self.notes.iter();
        let notes = notes.map(|note| Problem::unplaced("note", note.clone()));
        let served = self.served().into_iter();
        let report = Report {
            ok: self.is_ok(strict),
            file: self.file.display().to_string(),
            errors: self.count(Severity::Error),
            warnings: self.count(Severity::Warning),
            served: served
                .map(|(noun, count)| (format!("{}s", noun.replace(' ', "_")), count))
                .collect(),
            diagnostics: placed.chain(errors).chain(warnings).chain(notes).collect(),
            configuration: self
                .settings
                .all()
                .iter()
                .map(Configured::of_option)
                .collect(),
            callers: self.ways_in.iter().map(Admitted::of_way).collect(),
        };
        report.encoded()
    }
}

/// Rows with a title, unless there are none.
fn titled(title: &str, rows: &[[String; 3]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("{title}:\n{}\n", table::lines(rows, "  "))
}

fn counted(count: usize, noun: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {noun}")),
        _ => Some(format!("{count} {noun}s")),
    }
}

/// The report of `check --format json` on options that cannot be read: nothing else is known.
pub(super) fn unreadable(error: &str) -> String {
    Report {
        ok: false,
        file: String::new(),
        errors: 1,
        warnings: 0,
        served: BTreeMap::new(),
        diagnostics: vec![Problem::unplaced("error", error.to_owned())],
        configuration: Vec::new(),
        callers: Vec::new(),
    }
    .encoded()
}

/// The report of `check --format json`. Members are added, but never removed or changed.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    file: String,
    errors: usize,
    warnings: usize,
    served: BTreeMap<String, usize>,
    diagnostics: Vec<Problem<'a>>,
    configuration: Vec<Configured>,
    callers: Vec<Admitted<'a>>,
}

impl Report<'_> {
    fn encoded(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// A problem. Lines and columns count from 1, columns in characters, and the end is behind the place.
#[derive(Serialize)]
struct Problem<'a> {
    severity: &'static str,
    code: Option<&'static str>,
    message: String,
    help: Option<&'a str>,
    #[serde(flatten)]
    place: Placed<'a>,
    /// Other places that have to do with it.
    others: Vec<Other<'a>>,
}

/// A place of a problem; nothing for what is about options, or a file as a whole.
#[derive(Default, Serialize)]
struct Placed<'a> {
    path: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    end_line: Option<usize>,
    end_column: Option<usize>,
}

/// Another place, and what is there.
#[derive(Serialize)]
struct Other<'a> {
    message: &'a str,
    #[serde(flatten)]
    place: Placed<'a>,
}

impl<'a> From<Place<'a>> for Placed<'a> {
    fn from(place: Place<'a>) -> Self {
        let ((line, column), (end_line, end_column)) = (place.start, place.end);
        Self {
            path: Some(place.path),
            line: Some(line),
            column: Some(column),
            end_line: Some(end_line),
            end_column: Some(end_column),
        }
    }
}

impl<'a> Problem<'a> {
    fn unplaced(severity: &'static str, message: String) -> Self {
        Self {
            severity,
            code: None,
            message,
            help: None,
            place: Placed::default(),
            others: Vec::new(),
        }
    }

    fn placed(diagnostic: &'a Diagnostic) -> Self {
        let severity = match diagnostic.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let whole = Placed {
            path: Some(diagnostic.path()),
            ..Placed::default()
        };
        let others = diagnostic.others();
        Self {
            code: Some(diagnostic.code().as_str()),
            help: diagnostic.help(),
            place: diagnostic.place().map_or(whole, Placed::from),
            others: others
                .map(|(place, message)| Other {
                    message,
                    place: place.into(),
                })
                .collect(),
            ..Self::unplaced(severity, diagnostic.message().to_owned())
        }
    }
}

/// An option, and what set it.
#[derive(Serialize)]
struct Configured {
    option: String,
    variable: String,
    values: Vec<String>,
    source: &'static str,
}

impl Configured {
    fn of_option(setting: &cli::Setting) -> Self {
        Self {
            option: setting.option.clone(),
            variable: setting.variable.clone(),
            values: setting.values.clone(),
            source: match setting.source {
                Source::Default => "default",
                Source::Environment => "environment",
                Source::CommandLine => "command line",
            },
        }
    }
}

/// A way to be let in.
#[derive(Serialize)]
struct Admitted<'a> {
    kind: &'static str,
    name: &'a str,
    about: &'a [String],
}

impl<'a> Admitted<'a> {
    fn of_way(way: &'a WayIn) -> Self {
        Self {
            kind: way.kind,
            name: &way.name,
            about: &way.about,
        }
    }
}
