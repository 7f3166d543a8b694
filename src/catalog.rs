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
mod binding;
mod case;
mod completions;
mod concurrency;
mod content;
mod current;
mod definition;
mod documents;
mod environment;
mod exec;
mod file;
mod grants;
mod interpreter;
mod list;
mod outbound;
mod output;
mod params;
mod path_value;
mod program;
mod progress;
mod prompt;
mod question;
mod resource;
mod rules;
mod sandbox;
mod schema;
mod secrets;
mod settings;
mod tags;
mod template;
#[cfg(test)]
mod tests;
mod tool;
mod toolset;
mod uri_template;
mod variable;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub use allow::{Access, Allow, Guarded};
pub use argument_error::ArgumentError;
pub use case::{Case, Expectation};
pub use completions::{CandidateProgram, Candidates, Completions};
pub use concurrency::{Concurrency, DEFAULT_MAX, DEFAULT_QUEUE, Rate};
pub use current::{Current, Endpoint};
pub use environment::Environment;
pub use exec::{CallFolder, Command};
pub use file::{MAX_BYTES as MAX_FILE_BYTES, bytes as file_bytes};
pub use grants::Grants;
pub use list::{Fingerprint, List};
pub use outbound::{
    AllowedReach, Api, Auth, ClientCredentials, Credential, DEFAULT_API_TIMEOUT, Redirects,
    Request, Tls,
};
pub use output::{Form, Output, Overflow, Stderr};
pub use progress::{Channel, Mark, ProgressLines};
pub use prompt::{Prompt, PromptArgument};
pub use question::{Fallback, Question};
pub use resource::{Resource, ResourceAbout, ResourceTemplate};
pub use schema::{FormSchema, Mirrored, OutputError};
pub(crate) use tool::ToolDigest;
pub use tool::{
    Annotations, Arguments, Cancel, DEFAULT_GRACE, DEFAULT_MAX_OUTPUT, ExitMeaning, ExitRules,
    Origin, Signal, Stdin, Task, Tool, Work,
};
pub use toolset::Toolset;
pub use uri_template::UriTemplate;

use crate::auth::Caller;
use crate::document::diagnostic::{Code, Report};
use crate::document::{Diagnostic, LoadError};
use crate::protocol::content::Icon;
use crate::redact::Redactor;
use crate::snapshot::Snapshot;
use definition::{Contents, Context};
use documents::Document;
use outbound::Apis;
use sandbox::Host;

/// What one file serves, in its order; nothing of it changes.
#[derive(Debug)]
pub struct Catalog {
    secrets: Arc<Redactor>,
    server: ServerInfo,
    tools: List<Tool>,
    prompts: List<Prompt>,
    resources: List<Resource>,
    templates: List<ResourceTemplate>,
    cases: Vec<Case>,
    toolsets: BTreeMap<String, Toolset>,
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
    /// What was read, as it was just before: where something else is now is another catalog.
    pub inputs: Snapshot,
}

impl Catalog {
    /// Reads a file, and those that it includes. Programs are searched in the environment's PATH;
    /// relative paths in a file start at its folder.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be read or is not UTF-8, when all are larger than 4 MiB (which is
    /// found out without reading more than that), and as [`Catalog::parse`] does.
    pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, LoadError> {
        let (document, report) = documents::load(path, environment.permissions());
        Self::read(document, report, environment)
    }

    /// Reads a text as if it stood in the file `path`, which is not opened. What it includes is.
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
    /// let work = tool.work(&tool.arguments(arguments, &caller)?, &caller)?;
    /// let command = work.command().unwrap();
    /// assert_eq!(command.arguments, ["hello", "$(id)"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Loaded, LoadError> {
        let (document, report) = documents::parse(path, text, environment.permissions());
        Self::read(document, report, environment)
    }

    fn read(
        mut document: Option<Document>,
        mut report: Report,
        environment: &Environment,
    ) -> Result<Loaded, LoadError> {
        let mut context = Context {
            sources: report.sources().clone(),
            environment,
            host: &Host::new(environment.tries_sandboxes()),
            apis: &Apis::default(),
            secrets: Arc::default(),
        };
        if let Some(document) = &mut document {
            let secrets = secrets::resolve(document, environment, &mut report);
            report.redact(secrets.clone());
            if document.is_partial {
                // What is named may stand in the file that could not be read.
                report.ignore(Code::UnknownName);
            }
            context.secrets = Arc::new(secrets);
        }
        let contents = document.map(|document| definition::read(&document, &context, &mut report));
        let (warnings, inputs) = report.finish()?;
        Ok(Loaded {
            catalog: Self::new(contents.unwrap_or_default(), context.secrets),
            warnings,
            inputs,
        })
    }

    fn new(contents: Contents, secrets: Arc<Redactor>) -> Self {
        Self {
            toolsets: (contents.toolsets.into_iter())
                .map(|toolset| {
                    let catalog = Arc::new(Self::new(toolset.contents, Arc::clone(&secrets)));
                    let allow = toolset.allow;
                    (toolset.name, Toolset { catalog, allow })
                })
                .collect(),
            secrets,
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

    /// Returns what keeps the secrets of the definitions out of what others see.
    pub fn secrets(&self) -> &Arc<Redactor> {
        &self.secrets
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

    /// Returns what runs a program without a sandbox, each as a person would name it.
    pub fn unconfined(&self) -> impl Iterator<Item = &str> {
        (self.all_tools())
            .filter(|tool| tool.runs_unconfined())
            .map(|tool| tool.identity())
    }

    /// Returns the tools, and those that stand behind prompts, resources, templates and completions.
    pub(crate) fn all_tools(&self) -> impl Iterator<Item = &Arc<Tool>> {
        let prompts = self.prompts.iter();
        let templates = self.templates.iter();
        let completions = (prompts.clone().map(|prompt| &prompt.completions))
            .chain(templates.clone().map(|template| &template.completions));
        (self.tools.iter())
            .chain(prompts.map(|prompt| &prompt.tool))
            .chain(self.resources.iter().map(|resource| &resource.tool))
            .chain(templates.map(|template| &template.tool))
            .chain(completions.flat_map(Completions::programs))
    }

    /// Returns the scopes that a caller needs before anything asks for more: those of `step_up` come
    /// when they are needed.
    pub fn first_scopes(&self) -> BTreeSet<&str> {
        let allows = self.allows().filter(|allow| !allow.steps_up());
        allows.flat_map(Allow::scopes).collect()
    }

    /// Whether anything here that a caller sees asks for this scope.
    pub fn shows_scope(&self, caller: &Caller, scope: &str) -> bool {
        self.allows().any(|allow| allow.shows_scope(caller, scope))
    }

    fn allows(&self) -> impl Iterator<Item = &Allow> {
        let tools = self.all_tools().map(|tool| &tool.allow);
        tools.chain(self.toolsets.values().map(Guarded::allow))
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

    /// Returns the toolset with this name.
    pub fn toolset(&self, name: &str) -> Option<&Toolset> {
        self.toolsets.get(name)
    }

    /// Returns the tool with this name; names compare by bytes.
    pub fn tool(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(name)
    }
}
