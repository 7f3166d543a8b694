//! `sandbox`: what a program is confined to, and whether this machine can do so.

use std::cell::OnceCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::template::segments;
use crate::document::diagnostic::{Code, Problem, Report, Span};
use crate::document::reader;
use crate::document::yaml::{Entry, Node};
use crate::sandbox::{self, Abilities, Limits, Net, Policy};

const KEYS: &[&str] = &["fs", "net", "limits"];
const FS_KEYS: &[&str] = &["read", "write"];
const LIMIT_KEYS: &[&str] = &["cpu", "memory", "processes", "fsize", "files"];

/// The most paths of one list; each is opened at every call.
const MAX_PATHS: usize = 64;
/// How many processes a sandbox may be allowed, and how many descriptors: the most that Linux has
/// without being told otherwise.
const PROCESSES: RangeInclusive<u64> = 1..=4_194_304;
const FILES: RangeInclusive<u64> = 8..=1_048_576;

/// Why a limit of processes means nothing.
const NO_PROCESSES: &str = "the kernel does not count the processes of root, so that `processes` \
    would limit nothing; run the server as a user of its own";

/// What a tool or `defaults` says of a sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    place: Span,
    /// `None` is `false`: it has none, whatever `defaults` say.
    asked: Option<Asked>,
}

#[derive(Clone, Debug, Default)]
struct Asked {
    read: Vec<Named>,
    write: Vec<Named>,
    net: Net,
    limits: Limits,
}

/// A path as it stands in a file; a relative one starts at the folder of that file.
#[derive(Clone, Debug)]
struct Named {
    text: String,
    place: Span,
}

impl Sandbox {
    /// Reads the key; `None` when it has errors.
    pub(crate) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let errors = report.errors();
        let asked = match (entry.value.mapping(), entry.value.scalar()) {
            (Some(entries), _) => Some(Asked::read(entries, report)),
            (None, Some(scalar)) if scalar.boolean().is_some() => {
                (scalar.boolean() == Some(true)).then(Asked::default)
            }
            _ => {
                let expected = "`true`, `false`, or a mapping with `fs`, `net` and `limits`";
                reader::wrong_value(entry, expected, report);
                None
            }
        };
        let place = entry.key.span;
        (report.errors() == errors).then_some(Self { place, asked })
    }

    /// What a program is confined to; `None` if it is not. `folder` is the one of the file at a place.
    pub(crate) fn policy<'a>(
        &self,
        folder: impl Fn(Span) -> &'a Path,
        report: &mut Report,
    ) -> Option<Policy> {
        let asked = self.asked.as_ref()?;
        let mut resolved = |paths: &[Named]| -> Vec<PathBuf> {
            let paths = paths.iter();
            (paths.map(|path| path.resolved(folder(path.place), report))).collect()
        };
        Some(Policy {
            read: resolved(&asked.read),
            write: resolved(&asked.write),
            net: asked.net,
            limits: asked.limits,
        })
    }

    /// Whether this machine can confine a program, and what it cannot keep it from.
    ///
    /// # Errors
    ///
    /// Why it cannot: a warning if such a program is hidden.
    pub(crate) fn check(
        &self,
        name: &str,
        host: &Host,
        hides: bool,
    ) -> Result<Option<Problem>, Problem> {
        let Some(asked) = &self.asked else {
            return Ok(None);
        };
        let abilities = host.abilities();
        let unbounded = asked.limits.processes.is_some() && abilities.counts_no_processes;
        let why = abilities
            .missing
            .clone()
            .or_else(|| unbounded.then(|| NO_PROCESSES.to_owned()));
        if let Some(why) = why {
            return Err(self.problem(name, &why, hides));
        }
        let version = abilities.too_old_for_signals.as_ref();
        Ok(version.map(|version| self.too_old(name, version)))
    }

    fn problem(&self, name: &str, why: &str, hides: bool) -> Problem {
        if hides {
            let message = format!("`{name}` is left out, since it would have no sandbox: {why}");
            return Problem::warning(Code::Sandbox, self.place, message);
        }
        let message = format!("`{name}` would have no sandbox: {why}");
        let help = "serve it from a machine that can do so, let `if_missing: hide` leave it out, or \
                    take the key away";
        Problem::error(Code::Sandbox, self.place, message).help(help)
    }

    fn too_old(&self, name: &str, version: &str) -> Problem {
        let message = format!(
            "`{name}` can send signals to the server: Landlock of this kernel is version {version}"
        );
        let help = "version 6 prevents that, which Linux has from 6.12 on";
        Problem::warning(Code::Sandbox, self.place, message).help(help)
    }
}

impl Asked {
    fn read(entries: &[Entry], report: &mut Report) -> Self {
        let mut asked = Self::default();
        for entry in entries {
            match entry.key.text.as_str() {
                "fs" => asked.fs(entry, report),
                "net" => {
                    asked.net = reader::choice(entry, Net::NAMES, report).unwrap_or_default();
                }
                "limits" => asked.limits = limits(entry, report),
                _ => reader::unknown_key(entry, "`sandbox`", KEYS, report),
            }
        }
        asked
    }

    fn fs(&mut self, entry: &Entry, report: &mut Report) {
        for entry in reader::mapping(entry, report).unwrap_or_default() {
            match entry.key.text.as_str() {
                "read" => self.read = paths(entry, report),
                "write" => self.write = paths(entry, report),
                _ => reader::unknown_key(entry, "`fs`", FS_KEYS, report),
            }
        }
    }
}

fn paths(entry: &Entry, report: &mut Report) -> Vec<Named> {
    let nodes = reader::list(entry, report).unwrap_or_default();
    if let Some(node) = nodes.get(MAX_PATHS) {
        let message = format!("`{}` has more than {MAX_PATHS} paths", entry.key.text);
        let problem = Problem::error(Code::Value, node.span, message);
        report.add(problem.help("name a folder: what is below it goes with it"));
    }
    let nodes = nodes.iter().take(MAX_PATHS);
    nodes.filter_map(|node| Named::read(node, report)).collect()
}

impl Named {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let scalar = node.scalar().filter(|scalar| !scalar.is_null());
        let scalar = scalar.filter(|scalar| !scalar.text.is_empty() && !scalar.text.contains('\0'));
        let Some(scalar) = scalar else {
            let message = format!("a path must be a text, not {}", node.kind());
            report.add(Problem::error(Code::Value, node.span, message));
            return None;
        };
        if segments(scalar, report).slots().next().is_some() {
            let problem = Problem::error(
                Code::Value,
                node.span,
                "the paths of `sandbox` are fixed and take no placeholders",
            );
            report.add(problem.help("name the folder that all values are below"));
            return None;
        }
        Some(Self {
            text: scalar.text.clone(),
            place: node.span,
        })
    }

    /// The absolute path, of something that is there.
    fn resolved(&self, folder: &Path, report: &mut Report) -> PathBuf {
        let path = folder.join(&self.text);
        if let Err(error) = path.metadata() {
            let message = format!("`{}` cannot be opened to a sandbox: {error}", self.text);
            let problem = Problem::error(Code::Value, self.place, message);
            report.add(problem.help("a path is looked up from the folder of this file"));
        }
        std::path::absolute(&path).unwrap_or(path)
    }
}

fn limits(entry: &Entry, report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    for entry in reader::mapping(entry, report).unwrap_or_default() {
        match entry.key.text.as_str() {
            "cpu" => limits.cpu = seconds(entry, report),
            "memory" => limits.memory = reader::space(entry, report),
            "processes" => limits.processes = reader::number(entry, PROCESSES, report),
            "fsize" => limits.fsize = reader::space(entry, report).unwrap_or(limits.fsize),
            "files" => {
                limits.files = reader::number(entry, FILES, report).unwrap_or(limits.files);
            }
            _ => reader::unknown_key(entry, "`limits`", LIMIT_KEYS, report),
        }
    }
    limits
}

/// The kernel counts processor time in whole seconds.
fn seconds(entry: &Entry, report: &mut Report) -> Option<u64> {
    let time = reader::duration(entry, report)?;
    if time.is_zero() || time.subsec_nanos() > 0 {
        let message = "processor time is counted in whole seconds";
        let problem = Problem::error(Code::Value, entry.place(), message);
        report.add(problem.help("write `1s` or more"));
        return None;
    }
    Some(time.as_secs())
}

/// What is known of the machine while definitions are loaded. It is tried when the first definition
/// asks for it.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Whether anything is tried; if not, everything is taken to be possible.
    tries: bool,
    abilities: OnceCell<Abilities>,
}

impl Host {
    pub(crate) fn new(tries: bool) -> Self {
        Self {
            tries,
            ..Self::default()
        }
    }

    fn abilities(&self) -> &Abilities {
        self.abilities.get_or_init(|| {
            if self.tries {
                sandbox::probe()
            } else {
                Abilities::default()
            }
        })
    }
}
