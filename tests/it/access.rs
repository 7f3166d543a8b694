//! Who reaches what: each method, for each caller, with each object, at each endpoint, in both eras,
//! against a policy that is written a second time here.
//!
//! The methods come from the code, and a `match` here says of each how it names objects: a new one
//! does not compile until it has its rule.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use mcp_serve::auth::{Caller, Issuer, Principal};
use mcp_serve::catalog::{Catalog, Current, Endpoint, Environment};
use mcp_serve::dispatch::{self, Context, Plan};
use mcp_serve::outputs::Outputs;
use mcp_serve::protocol::jsonrpc::{Body, Message, Request, parse};
use mcp_serve::protocol::logging::Level;
use mcp_serve::protocol::mcp::Method;
use mcp_serve::protocol::version::{Era, ProtocolVersion, Served};
use mcp_serve::seal::Seal;
use serde_json::{Value, json};

use crate::support::{ERAS, modern_meta};

/// Stands for something that no file defines.
const ABSENT: &str = "oNONE";

/// All that an `allow` of these tests asks for.
const CLAIMS: [&str; 5] = ["role:a", "scope:a", "scope:b", "sub:ann", "tenant:acme"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tool,
    Prompt,
    Resource,
    Template,
}

const KINDS: [Kind; 4] = [Kind::Tool, Kind::Prompt, Kind::Resource, Kind::Template];

/// Something that is served: one way in suffices, and each needs all of its claims. No way at all
/// lets everybody in.
#[derive(Debug, Clone)]
struct Object {
    kind: Kind,
    id: String,
    ways: Vec<Vec<&'static str>>,
    step_up: bool,
    /// It is a tool that changes nothing.
    is_safe: bool,
    /// It is also in the toolset `part`.
    is_part: bool,
}

/// What an object is to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Granted,
    Challenged,
    Absent,
}

/// A caller, and the claims that it can make.
#[derive(Debug)]
struct Somebody {
    caller: Arc<Caller>,
    claims: BTreeSet<String>,
}

impl Somebody {
    /// It has no credential where others need one.
    fn is_guest(&self) -> bool {
        self.caller.principal == Principal::Anonymous && !self.claims.is_empty()
    }
}

impl Object {
    /// By which a request names it.
    fn key(&self) -> String {
        match self.kind {
            Kind::Tool | Kind::Prompt => self.id.clone(),
            Kind::Resource => format!("x://{}", self.id),
            Kind::Template => format!("x://{}/{{at}}", self.id),
        }
    }

    /// A URI that would read it.
    fn uri(&self) -> String {
        self.key().replace("{at}", "here")
    }

    /// Nothing of its kind.
    fn absent(&self) -> Self {
        Self {
            id: ABSENT.to_owned(),
            ..self.clone()
        }
    }

    /// Whether it is for guests, if they have the roles.
    fn is_for_guests(&self) -> bool {
        let may_change = self.kind == Kind::Tool && !self.is_safe;
        !self.ways.is_empty() && !may_change
    }

    fn is_of(&self, endpoint: &Endpoint) -> bool {
        endpoint.as_deref() != Some("part") || self.is_part
    }

    /// The policy.
    fn verdict(&self, somebody: &Somebody, endpoint: &Endpoint) -> Verdict {
        let lacking = |way: &Vec<&'static str>| {
            let lacks = |claim: &&&str| !somebody.claims.contains(**claim);
            way.iter().filter(lacks).copied().collect::<Vec<_>>()
        };
        let lacks: Vec<_> = self.ways.iter().map(lacking).collect();
        let is_scope = |claim: &&str| claim.starts_with("scope:");
        if !self.is_of(endpoint) || (somebody.is_guest() && !self.is_for_guests()) {
            Verdict::Absent
        } else if lacks.is_empty() || lacks.iter().any(Vec::is_empty) {
            Verdict::Granted
        } else if self.step_up
            && somebody.caller.principal != Principal::Anonymous
            && lacks.iter().any(|lacks| lacks.iter().all(is_scope))
        {
            Verdict::Challenged
        } else {
            Verdict::Absent
        }
    }

    /// As it stands in the file.
    fn definition(&self) -> String {
        let mut text = format!("  {}:\n    description: d\n", self.id);
        match self.kind {
            Kind::Tool => text.push_str("    exec: /bin/true\n    task: optional\n"),
            Kind::Prompt => text.push_str("    text: t {at}\n    params: {at: {enum: [here]}}\n"),
            Kind::Resource => writeln!(text, "    uri: {}\n    text: t", self.key()).unwrap(),
            Kind::Template => {
                let params = "params: {at: {enum: [here]}}";
                writeln!(
                    text,
                    "    uri: {}\n    text: t {{at}}\n    {params}",
                    self.key()
                )
                .unwrap();
            }
        }
        if self.is_safe {
            text.push_str("    effect: read\n");
        }
        if !self.ways.is_empty() {
            writeln!(text, "    allow: {}", json!(self.ways)).unwrap();
        }
        if self.step_up {
            text.push_str("    step_up: true\n");
        }
        if self.is_part {
            text.push_str("    tags: [part]\n");
        }
        text
    }
}

/// Every list of ways in that has up to two claims, as one way or as two.
fn rules() -> Vec<Vec<Vec<&'static str>>> {
    let mut rules = vec![vec![]];
    for (at, one) in CLAIMS.into_iter().enumerate() {
        rules.push(vec![vec![one]]);
        for other in CLAIMS.into_iter().skip(at + 1) {
            rules.push(vec![vec![one, other]]);
            rules.push(vec![vec![one], vec![other]]);
        }
    }
    rules
}

/// Each rule of one claim for each kind, and the others for each in turn, with and without a challenge.
fn objects() -> Vec<Object> {
    let mut objects = Vec::new();
    for (turn, ways) in rules().into_iter().enumerate() {
        let has_scope = ways
            .iter()
            .flatten()
            .any(|claim| claim.starts_with("scope:"));
        let is_simple = ways.iter().flatten().count() < 2;
        for step_up in [false, true].into_iter().take(1 + usize::from(has_scope)) {
            let kinds = KINDS.map(|kind| (kind, false)).into_iter();
            let kinds = kinds.chain([(Kind::Tool, true)]).cycle().skip(turn);
            for (kind, is_safe) in kinds.take(if is_simple { KINDS.len() + 1 } else { 1 }) {
                let number = objects.len();
                objects.push(Object {
                    kind,
                    id: format!("o{number:04}"),
                    ways: ways.clone(),
                    step_up,
                    is_safe,
                    is_part: number.is_multiple_of(3),
                });
            }
        }
    }
    objects
}

fn catalog(objects: &[Object]) -> Current {
    let mut text = String::new();
    for (section, kind) in ["tools", "prompts", "resources", "resource_templates"]
        .into_iter()
        .zip(KINDS)
    {
        writeln!(text, "{section}:").unwrap();
        let of_kind = objects.iter().filter(|object| object.kind == kind);
        text.extend(of_kind.map(Object::definition));
    }
    text.push_str("toolsets:\n  part: {match: tag:part}\n");
    text.push_str("  closed: {match: '*', allow: [role:a]}\n");
    let loaded = Catalog::parse(&text, Path::new("tools.yaml"), &Environment::default());
    Current::new(loaded.unwrap_or_else(|error| panic!("{error}")).catalog)
}

/// Everybody who can make some of the claims, and who can make none; anonymous callers with roles are
/// guests where others have a credential.
fn everybody() -> Vec<Somebody> {
    let anonymous = |roles: &[&str]| Somebody {
        caller: Arc::new(Caller {
            roles: roles.iter().map(ToString::to_string).collect(),
            ..Caller::new(Principal::Anonymous)
        }),
        claims: roles.iter().map(|role| format!("role:{role}")).collect(),
    };
    let mut everybody = vec![anonymous(&[]), anonymous(&["a"]), anonymous(&["guest"])];
    for choice in 0_u32..1 << CLAIMS.len() {
        let claims = CLAIMS.into_iter().enumerate();
        let claims = claims.filter(|(at, _)| choice & (1 << at) != 0);
        let claims: BTreeSet<_> = claims.map(|(_, claim)| claim.to_owned()).collect();
        let all = |prefix| {
            let values = claims
                .iter()
                .filter_map(move |claim| claim.strip_prefix(prefix));
            values.map(str::to_owned).collect::<Vec<_>>()
        };
        let subject = all("sub:").pop().unwrap_or_else(|| "bob".to_owned());
        let principal = Principal::user(Issuer::AuthFile, &subject, all("tenant:").pop());
        let caller = Caller {
            roles: all("role:"),
            ..Caller::new(principal).with_scopes(all("scope:"))
        };
        everybody.push(Somebody {
            caller: Arc::new(caller),
            claims,
        });
    }
    everybody
}

/// The kinds of objects that a method uses, in an era.
fn used(method: Method, era: Era) -> &'static [Kind] {
    match (method, era) {
        (Method::CallTool, _) => &[Kind::Tool],
        (Method::GetPrompt, _) => &[Kind::Prompt],
        (Method::ReadResource, _)
        | (Method::Subscribe, Era::Legacy)
        | (Method::Listen, Era::Modern) => &[Kind::Resource, Kind::Template],
        (Method::Complete, _) => &[Kind::Prompt, Kind::Template],
        // Whoever unsubscribes learns nothing, and tasks are named by nothing that a file defines.
        (
            Method::Initialize
            | Method::Ping
            | Method::Discover
            | Method::SetLevel
            | Method::ListTools
            | Method::ListPrompts
            | Method::ListResources
            | Method::ListResourceTemplates
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::Listen
            | Method::GetTask
            | Method::UpdateTask
            | Method::CancelTask
            | Method::Other,
            _,
        ) => &[],
    }
}

/// The list that a method answers with: its kind, its member and what names an item in it.
fn list_of(method: Method) -> Option<(Kind, &'static str)> {
    match method {
        Method::ListTools => Some((Kind::Tool, "tools")),
        Method::ListPrompts => Some((Kind::Prompt, "prompts")),
        Method::ListResources => Some((Kind::Resource, "resources")),
        Method::ListResourceTemplates => Some((Kind::Template, "resourceTemplates")),
        Method::Initialize
        | Method::Ping
        | Method::Discover
        | Method::SetLevel
        | Method::CallTool
        | Method::GetPrompt
        | Method::ReadResource
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::Complete
        | Method::Listen
        | Method::GetTask
        | Method::UpdateTask
        | Method::CancelTask
        | Method::Other => None,
    }
}

/// Params that name an object of whatever kind in every way that a request could.
fn params(method: Method, object: &Object) -> Vec<Value> {
    let (key, uri) = (object.key(), object.uri());
    let reference = |kind: &str, named: &str| {
        let argument = json!({"name": "at", "value": ""});
        json!({"ref": {"type": kind, named: key}, "argument": argument})
    };
    match method {
        Method::Complete => vec![
            reference("ref/prompt", "name"),
            reference("ref/resource", "uri"),
        ],
        _ => vec![json!({
            "name": key,
            "uri": uri,
            "taskId": key,
            "level": "info",
            "notifications": {"resourceSubscriptions": [uri]},
        })],
    }
}

/// One caller at one endpoint in one era.
struct Seat<'a> {
    somebody: &'a Somebody,
    endpoint: &'a Endpoint,
    era: Era,
    catalog: Arc<Catalog>,
    outputs: &'a Outputs,
    seal: &'a Seal,
}

impl Seat<'_> {
    fn context(&self) -> Context<'_> {
        Context {
            version: match self.era {
                Era::Legacy => ProtocolVersion::V2025_11_25,
                Era::Modern => ProtocolVersion::V2026_07_28,
            },
            served: Served::Both,
            catalog: &self.catalog,
            caller: &self.somebody.caller,
            capabilities: None,
            traceparent: None,
            outputs: self.outputs,
            seal: self.seal,
            now: SystemTime::now(),
            legacy_level: Level::Warning,
            hears_changes: true,
            keeps_tasks: true,
            page_size: usize::MAX,
        }
    }

    fn plan(&self, method: Method, params: &Value) -> Plan {
        let mut params = params.clone();
        if self.era == Era::Modern {
            params["_meta"] = modern_meta();
        }
        dispatch::plan(&self.context(), &mut request(method.as_str(), &params))
    }

    /// What a client would notice of a plan, with one name for all objects.
    fn noticed(&self, method: Method, params: &Value, id: &str) -> String {
        let noticed = match self.plan(method, params) {
            Plan::Reply(Ok(result))
            | Plan::Answered {
                outcome: Ok(result),
                ..
            } => result.get().to_owned(),
            Plan::Reply(Err(error))
            | Plan::Answered {
                outcome: Err(error),
                ..
            } => {
                format!("{error:?}")
            }
            Plan::Call(call) => format!("runs {}", call.tool.name),
            Plan::Task(task) => format!("{task:?}"),
            Plan::Remember(wish) => format!("{wish:?}"),
            Plan::Listen(listening) => String::from_utf8(listening.first).unwrap(),
            Plan::StepUp(needed) => format!("needs {}", needed.scope()),
        };
        noticed.replace(id, "NAME")
    }

    /// What a client would notice of each request that names an object.
    fn tried(&self, method: Method, object: &Object) -> Vec<String> {
        let params = params(method, object).into_iter();
        let noticed = params.map(|params| self.noticed(method, &params, &object.id));
        noticed.collect()
    }

    /// The objects of a kind that show whether a method keeps to the policy: all of them, and where it
    /// uses none of this kind, one for each thing that an object can be to the caller.
    fn telling<'o>(&self, method: Method, kind: Kind, objects: &'o [Object]) -> Vec<&'o Object> {
        let is_used = used(method, self.era).contains(&kind);
        let mut seen = Vec::new();
        let is_telling = |object: &&Object| {
            let verdict = object.verdict(self.somebody, self.endpoint);
            let is_new = !seen.contains(&verdict);
            seen.push(verdict);
            is_used || is_new
        };
        let of_kind = objects.iter().filter(|object| object.kind == kind);
        of_kind.filter(is_telling).collect()
    }

    /// Compares what becomes of the requests that name an object with the policy, and with what becomes
    /// of those that name nothing.
    fn check(&self, method: Method, object: &Object, absent: &[String]) {
        let found = self.tried(method, object);
        let is_used = used(method, self.era).contains(&object.kind);
        let verdict = match object.verdict(self.somebody, self.endpoint) {
            verdict if is_used => verdict,
            _ => Verdict::Absent,
        };
        let who = &self.somebody.claims;
        let case = || {
            let (method, endpoint) = (method.as_str(), self.endpoint);
            let era = self.era;
            format!(
                "{era:?} {method} by {who:?} at {endpoint:?}: {object:?}\n{found:?}\n{absent:?}"
            )
        };
        let needed: Vec<_> = found
            .iter()
            .filter_map(|said| said.strip_prefix("needs "))
            .collect();
        match verdict {
            Verdict::Absent => assert_eq!(found, absent, "{}", case()),
            Verdict::Granted => {
                assert_ne!(found, absent, "{}", case());
                assert!(needed.is_empty(), "{}", case());
            }
            Verdict::Challenged => {
                assert_eq!(needed.len(), 1, "{}", case());
                let scopes = needed.iter().flat_map(|scopes| scopes.split(' '));
                let scopes = scopes.map(|scope| format!("scope:{scope}"));
                let then: BTreeSet<_> = who.iter().cloned().chain(scopes).collect();
                let mut ways = object.ways.iter();
                let is_enough = ways.any(|way| way.iter().all(|claim| then.contains(*claim)));
                assert!(is_enough, "{}", case());
            }
        }
    }

    /// Compares a list with the policy, and what it says of sharing it.
    fn check_list(&self, method: Method, kind: Kind, member: &str, objects: &[Object]) {
        let Plan::Reply(Ok(result)) = self.plan(method, &json!({})) else {
            panic!("{method:?}");
        };
        let result: Value = serde_json::from_str(result.get()).unwrap();
        let items = result[member].as_array().unwrap();
        let names: Vec<_> = items
            .iter()
            .map(|item| item["name"].as_str().unwrap())
            .collect();
        let is_listed = |object: &&Object| {
            let verdict = object.verdict(self.somebody, self.endpoint);
            object.kind == kind && verdict != Verdict::Absent
        };
        let expected: Vec<_> = objects
            .iter()
            .filter(is_listed)
            .map(|object| &object.id)
            .collect();
        assert_eq!(
            names, expected,
            "{:?} {:?}",
            self.somebody.claims, self.endpoint
        );
        if self.era == Era::Modern {
            // Where nobody has a credential, all see the same.
            let is_open = self.somebody.caller.as_ref() == &Caller::new(Principal::Anonymous);
            let scope = if is_open { "public" } else { "private" };
            assert_eq!(result["cacheScope"], scope, "{method:?}");
        }
    }
}

fn request(method: &str, params: &Value) -> Request {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    match parse(body.to_string().as_bytes()) {
        Ok(Body::Message(Message::Request(request))) => request,
        other => panic!("{other:?}"),
    }
}

/// Runs a check for each caller, at each endpoint that is there for it, in both eras.
fn for_each_seat(current: &Current, check: impl Fn(&Seat<'_>)) -> usize {
    let (outputs, seal) = (Outputs::default(), Seal::random());
    let endpoints = [None, Some("part"), Some("closed")].map(|name| name.map(Arc::from));
    let mut seats = 0;
    for somebody in everybody() {
        for endpoint in &endpoints {
            let catalog = current.at(endpoint, &somebody.caller);
            let may = match endpoint.as_deref() {
                None => true,
                Some("part") => !somebody.is_guest(),
                Some(_) => somebody.claims.contains("role:a"),
            };
            assert_eq!(catalog.is_some(), may, "{:?} {endpoint:?}", somebody.claims);
            let Some(catalog) = catalog else { continue };
            for era in ERAS {
                check(&Seat {
                    somebody: &somebody,
                    endpoint,
                    era,
                    catalog: Arc::clone(&catalog),
                    outputs: &outputs,
                    seal: &seal,
                });
                seats += 1;
            }
        }
    }
    seats
}

#[test]
fn each_method_reaches_what_the_policy_grants_and_nothing_else() {
    let objects = objects();
    let current = catalog(&objects);
    let seats = for_each_seat(&current, |seat| {
        let methods = Method::ALL
            .iter()
            .filter(|method| list_of(**method).is_none());
        for method in methods {
            for kind in KINDS {
                let telling = seat.telling(*method, kind, &objects);
                let absent = seat.tried(*method, &telling[0].absent());
                for object in telling {
                    seat.check(*method, object, &absent);
                }
            }
        }
    });
    assert!(seats > 100, "{seats}");
}

#[test]
fn lists_show_what_the_policy_grants_or_challenges() {
    let objects = objects();
    let current = catalog(&objects);
    for_each_seat(&current, |seat| {
        for method in Method::ALL {
            if let Some((kind, member)) = list_of(*method) {
                seat.check_list(*method, kind, member, &objects);
            } else {
                // What lists nothing tells of nothing that was not asked for.
                let said = seat.noticed(*method, &json!({}), ABSENT);
                let told = objects.iter().find(|object| said.contains(&object.id));
                assert!(told.is_none(), "{method:?}: {said}");
            }
        }
    });
}
