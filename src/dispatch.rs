//! From a request to what is to be done about it.
//!
//! Synchronous and without I/O: whole protocol behaviours are tested with no runtime, socket or
//! process.

mod capabilities;
mod completion;
mod finish;
mod input;
mod page;
mod prompts;
mod refusal;
mod resources;
mod subscriptions;
mod tasks;
mod tools;
mod visible;

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::auth::{Caller, Principal};
use crate::catalog::{ArgumentError, Arguments, Catalog, Prompt, Tool, Work};
use crate::outputs::Outputs;
use crate::protocol::capabilities::ClientCapabilities;
use crate::protocol::content::Uri;
use crate::protocol::jsonrpc::{ErrorObject, INTERNAL_ERROR, INVALID_REQUEST, Request, RequestId};
use crate::protocol::legacy::{InitializeParams, InitializeResult};
use crate::protocol::logging::Level;
use crate::protocol::mcp::{CallToolResult, Implementation, Method};
use crate::protocol::media::MediaType;
use crate::protocol::modern::{CacheScope, Caching, DiscoverResult, LIST_TTL_MS, ModernResult};
use crate::protocol::progress::ProgressToken;
use crate::protocol::subscriptions::Filter;
use crate::protocol::trace::TraceContext;
use crate::protocol::version::{Era, ProtocolVersion, Served};
use crate::seal::Seal;

use capabilities::capabilities;
pub use finish::{Answer, finish};
pub use input::{Retry, input_required};
pub use refusal::InsufficientScope;
use refusal::Refusal;
pub use tasks::{TaskAction, TaskRequest, acknowledged, created, seen};
use tools::Called;
pub use visible::{Digests, Sight, Standing};

/// What to do about a request.
#[derive(Debug)]
pub enum Plan {
    /// Answer at once.
    Reply(Result<Box<RawValue>, ErrorObject>),
    /// Answer at once for a tool.
    Answered {
        /// The tool.
        tool: Arc<Tool>,
        /// Its result says that it failed.
        is_error: bool,
        /// How that came, in a few words for the log.
        how: &'static str,
        /// The reply.
        outcome: Result<Box<RawValue>, ErrorObject>,
    },
    /// Run a tool, and answer with its outcome.
    Call(Box<Call>),
    /// Look after a task.
    Task(TaskRequest),
    /// Note it for as long as the session lives.
    Remember(Wish),
    /// Tell what changes until the client leaves.
    Listen(Listening),
    /// Ask for a credential of more scopes.
    StepUp(InsufficientScope),
}

/// What a legacy client asks its session to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To hear log messages of this level and above.
    LogLevel(Level),
    /// To hear when the resource of this URI changes.
    Subscribe(String),
    /// Not to hear of the resource of this URI any more.
    Unsubscribe(String),
}

/// What a modern client listens to.
#[derive(Debug)]
pub struct Listening {
    /// The id of the request, which each message names.
    pub id: RequestId,
    /// What it hears of.
    pub filter: Filter,
    /// The first message.
    pub first: Vec<u8>,
    /// The last message, if the server ends it.
    pub last: Vec<u8>,
}

/// What a call is made for, which decides what becomes of its outcome.
#[derive(Debug)]
pub enum Purpose {
    /// `tools/call`
    Tool,
    /// `prompts/get`
    Prompt(Arc<Prompt>),
    /// `resources/read`
    Resource(Box<Reading>),
    /// `completion/complete`
    Completion {
        /// What was typed, if the program does not look at it.
        typed: Option<String>,
    },
}

/// A resource that is read.
#[derive(Debug)]
pub struct Reading {
    /// As the client wrote it.
    pub uri: Uri,
    /// What its bytes are.
    pub media: Option<MediaType>,
    /// How long, and between whom, the result may be shared.
    pub caching: Caching,
}

impl Purpose {
    /// The method of the request.
    pub fn method(&self) -> Method {
        match self {
            Self::Tool => Method::CallTool,
            Self::Prompt(_) => Method::GetPrompt,
            Self::Resource(_) => Method::ReadResource,
            Self::Completion { .. } => Method::Complete,
        }
    }
}

/// A tool to run, with arguments that passed its schema.
#[derive(Debug)]
pub struct Call {
    /// What it is made for.
    pub purpose: Purpose,
    /// The tool.
    pub tool: Arc<Tool>,
    /// Its arguments.
    pub arguments: Arguments,
    /// Who makes this request: not whoever opened the session.
    pub caller: Arc<Caller>,
    /// What the tool was found in. The call ends with it, whatever is served by then.
    pub catalog: Arc<Catalog>,
    /// Names the progress that the caller wants to hear of; `None` wants none.
    pub progress_token: Option<ProgressToken>,
    /// What the request says of its client.
    pub client: Client,
}

/// What a request says of the client that sent it.
#[derive(Debug, Clone)]
pub struct Client {
    /// What it can be asked.
    pub capabilities: ClientCapabilities,
    /// From which level on it wants to hear the log; `None` wants nothing.
    pub log_level: Option<Level>,
    /// The trace that the request belongs to.
    pub trace: Option<TraceContext>,
    /// What a client of 2026-07-28 brings from earlier rounds; `None` for a legacy one, and where
    /// it cannot be sent away.
    pub retry: Option<Retry>,
}

/// Answers the `initialize` of a legacy client.
///
/// # Errors
///
/// `-32602` for params that open no session.
pub fn initialize(
    context: &Context<'_>,
    params: &Map<String, Value>,
) -> Result<(InitializeParams, Box<RawValue>), ErrorObject> {
    let params = InitializeParams::read(params)?;
    let server = introduction(context.catalog);
    let result = raw(&InitializeResult {
        protocol_version: params.version.as_str(),
        capabilities: capabilities(context),
        server_info: &server,
        instructions: context.catalog.server().instructions.as_deref(),
    })?;
    Ok((params, result))
}

/// What a request is read against.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The version of the protocol that the request speaks.
    pub version: ProtocolVersion,
    /// The versions that are served.
    pub served: Served,
    /// What is served.
    pub catalog: &'a Arc<Catalog>,
    /// Who makes this request.
    pub caller: &'a Arc<Caller>,
    /// What the client of a legacy session can be asked; one of 2026-07-28 says it in each request.
    pub capabilities: Option<&'a ClientCapabilities>,
    /// The header `traceparent`.
    pub traceparent: Option<&'a str>,
    /// What was too large for a result.
    pub outputs: &'a Outputs,
    /// Opens what clients carry from one round to the next.
    pub seal: &'a Seal,
    /// When the request came.
    pub now: SystemTime,
    /// From which level on a legacy client wants to hear log messages; a modern one says so in each
    /// request.
    pub legacy_level: Level,
    /// The client can be told what changes: a legacy one in its session, a modern one always.
    pub hears_changes: bool,
    /// A call can become a task that its client comes back for.
    pub keeps_tasks: bool,
    /// The most items on a page of a list.
    pub page_size: usize,
}

/// Plans a request of either era, other than a legacy `initialize`.
/// Takes the arguments of a call out of the request.
pub fn plan(context: &Context<'_>, request: &mut Request) -> Plan {
    use Era::{Legacy, Modern};
    // Without a wildcard, so that a new method cannot be forgotten, neither here nor in the test that
    // tries each of them for each caller.
    match (Method::named(&request.method), context.era()) {
        (Method::Ping, Legacy) => Plan::Reply(empty()),
        (Method::SetLevel, Legacy) => planned(subscriptions::set_level(request)),
        (Method::Subscribe, Legacy) => planned(subscriptions::subscribe(context, request)),
        (Method::Unsubscribe, Legacy) => planned(subscriptions::unsubscribe(request)),
        (Method::Listen, Modern) => planned(subscriptions::listen(context, request)),
        (Method::Discover, Modern) => Plan::Reply(discover(context)),
        (Method::GetTask | Method::UpdateTask | Method::CancelTask, Modern) => {
            planned(tasks::plan(context, request))
        }
        (Method::ListTools, _) => Plan::Reply(tools::list(context, request)),
        (Method::CallTool, _) => match tools::call(context, request) {
            Ok(Called::Runs(call)) => Plan::Call(call),
            Ok(Called::Answered(tool, result, how)) => answered(context, tool, result, how),
            Err(refusal) => refusal.into(),
        },
        (Method::ListPrompts, _) => Plan::Reply(prompts::list(context, request)),
        (Method::GetPrompt, _) => planned(prompts::get(context, request)),
        (Method::ListResources, _) => Plan::Reply(resources::list(context, request)),
        (Method::ListResourceTemplates, _) => {
            Plan::Reply(resources::list_templates(context, request))
        }
        (Method::ReadResource, _) => planned(resources::read(context, request)),
        (Method::Complete, _) => planned(completion::complete(context, request)),
        (Method::Ping | Method::SetLevel | Method::Subscribe | Method::Unsubscribe, Modern)
        | (
            Method::Discover
            | Method::Listen
            | Method::GetTask
            | Method::UpdateTask
            | Method::CancelTask,
            Legacy,
        )
        | (Method::Initialize | Method::Other, _) => {
            ErrorObject::method_not_found(&request.method).into()
        }
    }
}

/// The headers that must repeat arguments of a request, with the arguments: none but for a call of
/// a tool that asks for them.
pub fn mirrored<'a>(
    context: &Context<'a>,
    request: &'a Request,
) -> impl Iterator<Item = (&'a str, Option<&'a Value>)> {
    tools::mirrored(context, request).into_iter().flatten()
}

/// The result that says no more than that it was done.
///
/// # Errors
///
/// `-32603` if it cannot be encoded, as for every result.
pub fn empty() -> Result<Box<RawValue>, ErrorObject> {
    raw(&json!({}))
}

/// The plan to answer a call with a result that is known.
fn answered(
    context: &Context<'_>,
    tool: Arc<Tool>,
    result: CallToolResult,
    how: &'static str,
) -> Plan {
    let is_error = result.is_error;
    let answer = Answer::Result(result);
    Plan::Answered {
        tool,
        is_error,
        how,
        outcome: finish(context.version, &Purpose::Tool, answer, context.catalog),
    }
}

/// A refusal is a plan too: to answer with it.
fn planned(plan: Result<Plan, impl Into<Plan>>) -> Plan {
    plan.unwrap_or_else(Into::into)
}

/// Answers at once what needs nothing of the outside world, and plans a call for the rest.
fn perform(
    context: &Context<'_>,
    request: &Request,
    tool: &Arc<Tool>,
    arguments: Arguments,
    (purpose, client): (Purpose, Client),
) -> Result<Plan, ErrorObject> {
    if let Some(missing) = input::missing(context.era(), &tool.needs, &client)? {
        return Err(ErrorObject::new(INVALID_REQUEST, missing));
    }
    let progress_token = ProgressToken::read(&request.params)?;
    // What the user is asked for is not known yet, and the file system is not for here.
    let is_known = !tool.asks_for_values() && !tool.looks_up_paths();
    let work = is_known.then(|| tool.work(&arguments, context.caller));
    let work = work.transpose();
    match work.map_err(|error| invalid_arguments(&error))? {
        Some(Work::Answer(pieces)) => {
            let answer = Answer::Result(CallToolResult::of(pieces));
            let reply = finish(context.version, &purpose, answer, context.catalog);
            Ok(Plan::Reply(reply))
        }
        None | Some(Work::Run(_) | Work::Send(_) | Work::Read(_)) => {
            Ok(Plan::Call(Box::new(Call {
                purpose,
                tool: Arc::clone(tool),
                arguments,
                caller: Arc::clone(context.caller),
                catalog: Arc::clone(context.catalog),
                progress_token,
                client,
            })))
        }
    }
}

/// Takes the arguments out of the params of a request.
fn take_arguments(request: &mut Request) -> Result<Option<Map<String, Value>>, ErrorObject> {
    match request.params.swap_remove("arguments") {
        None => Ok(None),
        Some(Value::Object(arguments)) => Ok(Some(arguments)),
        Some(_) => Err(ErrorObject::invalid_params(
            "Invalid params: \"arguments\" must be an object",
        )),
    }
}

fn invalid_arguments(error: &ArgumentError) -> ErrorObject {
    ErrorObject::invalid_params(format!("Invalid params: {error}"))
}

/// Encodes the result of a call of a tool for an era.
///
/// # Errors
///
/// `-32603` if the result cannot be encoded, which no result of ours should cause.
fn call_result(
    era: Era,
    mut result: CallToolResult,
    catalog: &Catalog,
) -> Result<Box<RawValue>, ErrorObject> {
    if era == Era::Legacy {
        // Up to 2025-11-25 structured content is an object; 2026-07-28 allows any value.
        result.structured_content = result.structured_content.filter(Value::is_object);
    }
    encode(era, &result, None, catalog)
}

/// Encodes a result as its era has it.
fn encode(
    era: Era,
    result: &impl Serialize,
    caching: Option<Caching>,
    catalog: &Catalog,
) -> Result<Box<RawValue>, ErrorObject> {
    match era {
        Era::Legacy => raw(result),
        Era::Modern => complete(result, caching, catalog),
    }
}

/// Encodes a result that clients may keep, as far as their era has that.
fn cacheable(
    context: &Context<'_>,
    result: &impl Serialize,
    caching: Caching,
) -> Result<Box<RawValue>, ErrorObject> {
    encode(context.era(), result, Some(caching), context.catalog)
}

fn discover(context: &Context<'_>) -> Result<Box<RawValue>, ErrorObject> {
    let result = DiscoverResult {
        supported_versions: context.served.versions(),
        capabilities: capabilities(context),
        instructions: context.catalog.server().instructions.as_deref(),
    };
    let server = introduction(context.catalog);
    raw(&ModernResult::complete(
        &result,
        Some(context.list_caching()),
        &server,
    ))
}

impl Context<'_> {
    fn era(&self) -> Era {
        self.version.era()
    }

    /// How long what a definition says may be kept.
    fn list_caching(&self) -> Caching {
        self.caching(LIST_TTL_MS)
    }

    /// The same for every caller, but where there are credentials, a cache must not give what one
    /// gets to somebody with another or with none.
    fn caching(&self, ttl_ms: u64) -> Caching {
        let cache_scope = match self.caller.principal {
            Principal::Anonymous if !self.caller.is_guest() => CacheScope::Public,
            Principal::Anonymous | Principal::User(_) => CacheScope::Private,
        };
        Caching {
            ttl_ms,
            cache_scope,
        }
    }
}

fn implementation(catalog: &Catalog) -> Implementation<'_> {
    let server = catalog.server();
    Implementation {
        name: &server.name,
        title: server.title.as_deref(),
        version: env!("CARGO_PKG_VERSION"),
        icons: &[],
    }
}

/// The implementation with its icons, where a client gets to know the server. They may be large,
/// so that not every result repeats them.
fn introduction(catalog: &Catalog) -> Implementation<'_> {
    Implementation {
        icons: &catalog.server().icons,
        ..implementation(catalog)
    }
}

fn complete(
    result: &impl Serialize,
    caching: Option<Caching>,
    catalog: &Catalog,
) -> Result<Box<RawValue>, ErrorObject> {
    raw(&ModernResult::complete(
        result,
        caching,
        &implementation(catalog),
    ))
}

fn raw(result: &impl Serialize) -> Result<Box<RawValue>, ErrorObject> {
    to_raw_value(result).map_err(|error| {
        tracing::error!(%error, "a result could not be encoded");
        ErrorObject::new(
            INTERNAL_ERROR,
            "Internal error: the result could not be encoded",
        )
    })
}

#[cfg(test)]
mod tests;
