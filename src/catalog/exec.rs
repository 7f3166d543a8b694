//! A program that runs: what its definition says of it, and the process that one call becomes.

mod files;
mod script;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::argument_error::ArgumentError;
use super::settings::Variable;
use super::template::{Renderer, Slot, Template};
use crate::sandbox::Policy;
pub(crate) use files::{FILE_PREFIX, FileText, Files, Placed, is_file_name};
pub(crate) use script::{Input, Script};

/// The folder of a call that holds its files, below the call's own.
const FILES: &str = "files";
/// The name of a script, beside that folder: what it imports by name is not what a call wrote.
const SCRIPT: &str = "script";

/// A program to run.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) program: PathBuf,
    pub(crate) template: Template,
    /// What an interpreter is given to run; its path is the last word.
    pub(crate) script: Option<Script>,
    pub(crate) files: Files,
    pub(crate) workdir: Option<PathBuf>,
    /// What it is confined to, if it is.
    pub(crate) sandbox: Option<Arc<Policy>>,
    /// The environment that does not depend on the call.
    pub(crate) inherited: Vec<(OsString, OsString)>,
    pub(crate) variables: Vec<Variable>,
    /// Where calls have their folders.
    pub(crate) temporary: PathBuf,
}

impl Exec {
    pub(crate) fn command(&self, renderer: Renderer<'_>) -> Result<Command, ArgumentError> {
        let folder = self.has_files().then(|| CallFolder::new(&self.temporary));
        let files = folder.as_ref().map(CallFolder::files);
        let mut renderer = renderer.with_files(files.as_deref().map(|folder| Placed {
            files: &self.files,
            folder,
        }));
        renderer.count(self.program.as_os_str().len());
        let mut words = renderer.words(&self.template);
        words.extend(self.script_path(folder.as_ref()));
        let environment = self.environment(&mut renderer);
        for (name, value) in &environment {
            renderer.count(name.len() + 1 + value.len());
        }
        let folder = folder.map(|folder| self.filled(folder, &mut renderer));
        renderer.finish()?;
        Ok(Command {
            program: self.program.clone(),
            arguments: words,
            environment,
            workdir: self.workdir.clone(),
            sandbox: self.sandbox.clone(),
            input: None,
            folder,
        })
    }

    /// Every place that a call fills, or that decides what is filled.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        let variables = self.variables.iter();
        (self.template.slots())
            .chain(variables.flat_map(|variable| variable.value.slots()))
            .chain(self.files.slots())
    }

    /// Whether the values of a parameter reach the program, as far as its definition shows.
    pub(crate) fn uses(&self, parameter: &str) -> bool {
        let mut slots = self.slots();
        let script = self.script.as_ref();
        slots.any(|slot| slot.name == parameter)
            || script.is_some_and(|script| script.mentions(parameter))
    }

    fn has_files(&self) -> bool {
        self.script.is_some() || !self.files.is_empty()
    }

    fn script_path(&self, folder: Option<&CallFolder>) -> Option<OsString> {
        self.script.as_ref()?;
        Some(folder?.path.join(SCRIPT).into())
    }

    fn environment(&self, renderer: &mut Renderer<'_>) -> Vec<(OsString, OsString)> {
        let mut environment = self.inherited.clone();
        let mut set = |name: &str, value: Option<OsString>| {
            let name = OsString::from(name);
            environment.retain(|(other, _)| *other != name);
            environment.extend(value.map(|value| (name, value)));
        };
        for variable in &self.variables {
            set(&variable.name.text, renderer.variable(&variable.value));
        }
        for input in self.script.iter().flat_map(|script| &script.inputs) {
            set(&input.variable, renderer.input(&input.parameter));
        }
        environment
    }

    fn filled(&self, folder: CallFolder, renderer: &mut Renderer<'_>) -> CallFolder {
        let files = self.files.iter().filter_map(|file| {
            let path = Path::new(FILES).join(&file.name);
            Some((path, renderer.file(&file.text)?))
        });
        let script = self.script.iter();
        let script = script.map(|script| (PathBuf::from(SCRIPT), script.text.clone()));
        CallFolder {
            contents: script.chain(files).collect(),
            ..folder
        }
    }
}

/// A process to start: nothing in it is parsed again.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The absolute path of the program.
    pub program: PathBuf,
    /// The arguments after the program's own name.
    pub arguments: Vec<OsString>,
    /// The whole environment of the process; each name stands once.
    pub environment: Vec<(OsString, OsString)>,
    /// The absolute path of the folder to run in; `None` asks for a private one.
    pub workdir: Option<PathBuf>,
    /// What it is confined to, besides its own folder; `None` if it is not.
    pub(crate) sandbox: Option<Arc<Policy>>,
    /// What it finds on its standard input: its arguments as one line of JSON; `None` if nothing.
    pub input: Option<String>,
    /// What is written before the process starts; `None` if nothing is.
    pub folder: Option<CallFolder>,
}

/// Prints neither the values of variables nor the input, which may be secret.
impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("Command")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("environment", &names)
            .field("workdir", &self.workdir)
            .field("sandbox", &self.sandbox)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The folder of one call, which is made before its process starts and removed after it.
#[derive(Clone, PartialEq, Eq)]
pub struct CallFolder {
    /// Its absolute path, under which nothing is yet.
    pub path: PathBuf,
    /// The files in it, by relative paths, with what they hold.
    pub contents: Vec<(PathBuf, String)>,
}

impl CallFolder {
    /// A folder with a name that nobody can guess, and so nobody can take before.
    ///
    /// # Panics
    ///
    /// When the system has no random bits.
    #[expect(
        clippy::expect_used,
        reason = "a name that can be guessed could be taken"
    )]
    pub fn new(parent: &Path) -> Self {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).expect("the system has random bits");
        let name = format!("mcp-serve-{:032x}", u128::from_ne_bytes(bits));
        Self {
            path: parent.join(name),
            contents: Vec::new(),
        }
    }

    /// The absolute path of the folder for the definition's own files. A process without a
    /// `workdir` runs there.
    pub fn files(&self) -> PathBuf {
        self.path.join(FILES)
    }
}

/// Prints the names of files and not what they hold, which may be secret.
impl fmt::Debug for CallFolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.contents.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("CallFolder")
            .field("path", &self.path)
            .field("contents", &names)
            .finish()
    }
}
