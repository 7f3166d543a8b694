//! What is served: the tools of a tools.yaml, checked and ready to run.
//!
//! A file is parsed, not validated: [`Catalog::load`] returns tools that can only run as their
//! definition says, or everything that is wrong with the file, in one pass. Nothing here runs a
//! program, opens a socket or keeps a file open, and nothing of a catalog changes once it is
//! loaded; a new file is a new catalog.
//!
//! A definition becomes a [`Tool`] in these steps: [`crate::document`] gives it places,
//! `definition` reads its keys, `params` and `schema` its parameters, `template` its command. A
//! call takes the way back: [`Tool::arguments`] checks what the client sent, [`Tool::work`] makes it
//! words.

mod allow;
mod argument_error;
mod case;
mod completions;
mod content;
mod definition;
mod environment;
mod file;
mod grants;
mod interpreter;
mod list;
mod output;
mod params;
mod program;
mod prompt;
mod question;
mod resource;
mod schema;
mod settings;
mod tags;
mod template;
#[cfg(test)]
mod tests;
mod tool;
mod uri_template;
mod variable;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub use allow::{Allow, Guarded};
pub use argument_error::ArgumentError;
pub use case::{Case, Expectation};
pub use completions::{CandidateProgram, Candidates, Completions};
pub use environment::Environment;
pub use file::{MAX_BYTES as MAX_FILE_BYTES, bytes as file_bytes};
pub use grants::Grants;
pub use list::{Fingerprint, List};
pub use output::{Form, Output};
pub use prompt::{Prompt, PromptArgument};
pub use question::{Fallback, Question};
pub use resource::{Resource, ResourceAbout, ResourceTemplate};
pub use schema::{FormSchema, Mirrored, OutputError};
pub use tool::{
    Annotations, Arguments, Cancel, Command, DEFAULT_GRACE, DEFAULT_MAX_OUTPUT, ExitMeaning,
    ExitRules, Origin, Signal, Stdin, Task, Tool, Work,
};
pub use uri_template::UriTemplate;

use crate::document::diagnostic::{Problem, Report, Source};
use crate::document::{Code, Diagnostic, LoadError, yaml};
use crate::protocol::content::Icon;
use definition::{Contents, Context};

/// What one file serves, in its order; nothing of it changes.
#[derive(Debug)]
pub struct Catalog {
    server: ServerInfo,
    tools: List<Tool>,
    prompts: List<Prompt>,
    resources: List<Resource>,
    templates: List<ResourceTemplate>,
    cases: Vec<Case>,
}

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerInfo {
    /// The name for programs; default `mcp-serve`.
    pub name: String,
    /// The name for people.
    pub title: Option<String>,
    /// Pictures for people.
    pub icons: Vec<Icon>,
    /// How a model should use the server as a whole.
    pub instructions: Option<String>,
}

impl Default for ServerInfo {
    fn default() -> Self {
        Self {
            name: "mcp-serve".to_owned(),
            title: None,
            icons: Vec::new(),
            instructions: None,
        }
    }
}

/// A catalog, and what its author should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// What is served.
    pub catalog: Catalog,
    /// Problems that do not keep the file from being served, in its order.
    pub warnings: Vec<Diagnostic>,
}

impl Catalog {
    /// Reads a file. Programs are searched in the environment's PATH; relative paths in the file
    /// start at its folder.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, is larger than 4 MiB (which is found out without
    /// reading it) or not UTF-8, and as [`Catalog::parse`] does.
    pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, LoadError> {
        let text = read_file(path).map_err(|problem| {
            let mut report = Report::new(Source::new(path, String::new()));
            report.add(problem);
            LoadError::new(report.finish())
        })?;
        Self::parse(&text, path, environment)
    }

    /// Reads a text as if it stood in the file `path`, which is not opened.
    ///
    /// # Errors
    ///
    /// Fails when the text is not valid; the error holds every problem in the order of the text.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::Path;
    /// use mcp_serve::auth::{Caller, Principal};
    /// use mcp_serve::catalog::{Catalog, Environment};
    ///
    /// let text = "
    /// tools:
    ///   greet:
    ///     description: Says hello.
    ///     exec: /bin/echo hello {name}
    ///     params: {name: string}
    /// ";
    /// let environment = Environment::default();
    /// let loaded = Catalog::parse(text, Path::new("tools.yaml"), &environment)?;
    /// let tool = loaded.catalog.tool("greet").unwrap();
    ///
    /// let arguments = serde_json::json!({"name": "$(id)"}).as_object().cloned();
    /// let caller = Caller::new(Principal::Anonymous);
    /// let work = tool.work(&tool.arguments(arguments)?, &caller)?;
    /// let command = work.command().unwrap();
    /// assert_eq!(command.arguments, ["hello", "$(id)"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Loaded, LoadError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let mut report = Report::new(Source::new(path, text));
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let context = Context {
            folder,
            environment,
        };
        let contents = match yaml::parse(&mut report, &definition::ADVICE) {
            Some((root, duplicates)) => definition::read(&root, duplicates, &context, &mut report),
            None => Contents::default(),
        };
        let failed = report.errors() > 0;
        let diagnostics = report.finish();
        if failed {
            return Err(LoadError::new(diagnostics));
        }
        Ok(Loaded {
            catalog: Self::new(contents),
            warnings: diagnostics,
        })
    }

    fn new(contents: Contents) -> Self {
        Self {
            server: contents.server,
            tools: List::new("tools", contents.tools, |tool| &tool.name),
            prompts: List::new("prompts", contents.prompts, |prompt| &prompt.name),
            resources: List::new("resources", contents.resources, |resource| {
                resource.uri.as_str()
            }),
            templates: List::new("templates", contents.templates, |template| {
                template.uri.as_str()
            }),
            cases: contents.cases,
        }
    }

    /// Returns what the server says of itself.
    pub fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// True if nothing is served: the file defines nothing, or all of it is hidden.
    pub fn is_empty(&self) -> bool {
        let has_resources = !self.resources.is_empty() || !self.templates.is_empty();
        self.tools.is_empty() && !has_resources && self.prompts.is_empty()
    }

    /// Returns the tools in the order of the file.
    pub fn tools(&self) -> &List<Tool> {
        &self.tools
    }

    /// Returns the prompts in the order of the file.
    pub fn prompts(&self) -> &List<Prompt> {
        &self.prompts
    }

    /// Returns the resources in the order of the file, by their URIs.
    pub fn resources(&self) -> &List<Resource> {
        &self.resources
    }

    /// Returns the templates of resources in the order of the file, by their URI templates.
    pub fn templates(&self) -> &List<ResourceTemplate> {
        &self.templates
    }

    /// Returns the tests of the file, in its order.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Returns the tool with this name; names compare by bytes.
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(name)
    }
}

/// Reads a file that is small enough and UTF-8.
fn read_file(path: &Path) -> Result<String, Problem> {
    let unreadable = |message: String| Problem::without_place(Code::Unreadable, message);
    let failed = |error: std::io::Error| {
        let problem = unreadable(format!("cannot be read: {error}"));
        if error.kind() == std::io::ErrorKind::NotFound {
            problem.help("name another file with --tools")
        } else {
            problem
        }
    };
    let too_large = || {
        unreadable(format!("larger than {} MiB", yaml::MAX_BYTES / 1024 / 1024))
            .help("serve fewer tools from one file")
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > yaml::MAX_BYTES {
        return Err(too_large());
    }
    // The length of a pipe or device is not known before it is read.
    let mut bytes = Vec::new();
    file.take(yaml::MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > yaml::MAX_BYTES {
        return Err(too_large());
    }
    if matches!(bytes.get(..2), Some([0xff, 0xfe] | [0xfe, 0xff])) {
        return Err(unreadable("this is UTF-16".to_owned()).help("save it as UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error
            .as_bytes()
            .iter()
            .take(error.utf8_error().valid_up_to());
        let line = line.filter(|byte| **byte == b'\n').count() + 1;
        unreadable(format!("line {line} is not UTF-8")).help("save it as UTF-8")
    })
}
