//! What a request of 2026-07-28 brings from earlier rounds, and what a client is sent away with
//! (MCP 2026-07-28, Multi Round-Trip Requests).
//!
//! The state is sealed: the server keeps nothing between two rounds, and any server with the same
//! key and definition goes on. It is bound to who calls what with which arguments, and for a while. What
//! a user agreed to is what was defined then, so that it does not count for another definition. A client
//! may come back without it, with its answers alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Client, Context, raw};
use crate::auth::Principal;
use crate::catalog::ToolDigest;
use crate::catalog::{Catalog, Tool};
use crate::protocol::canonical;
use crate::protocol::capabilities::Capability;
use crate::protocol::input::{Answers, InputRequired, Known, missing_capabilities};
use crate::protocol::jsonrpc::{ErrorObject, INTERNAL_ERROR, Request};
use crate::protocol::mcp;
use crate::protocol::modern::{self, ModernResult};
use crate::protocol::trace::TraceContext;
use crate::protocol::version::Era;
use crate::seal::Seal;

/// The longest state that is looked at, in bytes: more than is ever handed out.
const MAX_STATE: usize = 1 << 20;

/// What a request brings, and what the state of its answer is bound to.
#[derive(Debug, Clone)]
pub struct Retry {
    /// What is known from earlier rounds.
    pub answers: Answers,
    place: Place,
}

/// Who calls what, as it is defined, with which arguments: a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place([u8; 32]);

/// What a client carries from one round to the next.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// Until when it counts, in seconds of Unix time.
    until: u64,
    round: u8,
    answers: BTreeMap<String, Value>,
    /// The keys of what was asked.
    asked: Vec<String>,
}

/// Reads what a request says of its client, and what it brings. `name` is that of the tool or
/// prompt, or the URI of the resource, and `tool` stands behind it.
///
/// # Errors
///
/// `-32602` for what is no level of the log, and for a state that was not handed out for this
/// request, or too long ago.
pub(super) fn client(
    context: &Context<'_>,
    request: &Request,
    (name, tool): (&str, &Tool),
    arguments: Option<&Map<String, Value>>,
) -> Result<Client, ErrorObject> {
    let params = &request.params;
    let trace = TraceContext::read(params, context.traceparent);
    match context.era() {
        Era::Legacy => Ok(Client {
            capabilities: context.capabilities.cloned().unwrap_or_default(),
            log_level: Some(context.legacy_level),
            trace,
            retry: None,
        }),
        Era::Modern => {
            // A call that asks nothing needs no place to come back to, which costs a digest.
            let comes_back = tool.may_ask() || mcp::member(params, "requestState").is_some();
            let retry = comes_back.then(|| {
                let caller = &context.caller.principal;
                let place = Place::of(caller, &request.method, (name, tool.digest), arguments);
                read((context.seal, context.now), place, params)
            });
            Ok(Client {
                capabilities: modern::client_capabilities(params),
                log_level: modern::log_level(params)?,
                trace,
                retry: retry.transpose()?,
            })
        }
    }
}

/// Says what a client lacks of what it needs; `None` if it lacks nothing.
///
/// # Errors
///
/// `-32021` in 2026-07-28 (MCP 2026-07-28, Base Protocol: MUST, HTTP 400). Up to 2025-11-25 there
/// is no such error, and the text is for the model.
pub(super) fn missing(
    era: Era,
    needs: &BTreeSet<Capability>,
    client: &Client,
) -> Result<Option<String>, ErrorObject> {
    let lacks = |capability: &Capability| !client.capabilities.has(*capability);
    let missing: Vec<_> = needs.iter().copied().filter(lacks).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let error = missing_capabilities(&missing);
    match era {
        Era::Legacy => Ok(Some(error.message.into_owned())),
        Era::Modern => Err(error),
    }
}

fn read(
    (seal, now): (&Seal, SystemTime),
    place: Place,
    params: &Map<String, Value>,
) -> Result<Retry, ErrorObject> {
    let state = match params.get("requestState") {
        None | Some(Value::Null) => None,
        Some(state) => Some(open(seal, now, &place, state).ok_or_else(unusable)?),
    };
    let responses = params.get("inputResponses");
    let responses = responses.and_then(Value::as_object);
    Ok(Retry {
        answers: answers(state, responses),
        place,
    })
}

fn unusable() -> ErrorObject {
    ErrorObject::invalid_params(
        "Invalid params: the requestState was not made for this request, was changed, or is too \
         old; start again without it",
    )
}

fn open(seal: &Seal, now: SystemTime, place: &Place, state: &Value) -> Option<State> {
    let sealed = state.as_str().filter(|text| text.len() <= MAX_STATE)?;
    let state: State = serde_json::from_slice(&seal.open(&place.0, sealed)?).ok()?;
    (seconds(now) <= state.until).then_some(state)
}

/// What was answered in earlier rounds stays so. Of what is new, whatever is not asked is ignored
/// later.
fn answers(state: Option<State>, responses: Option<&Map<String, Value>>) -> Answers {
    let (round, earlier, asked) = match state {
        Some(state) => (state.round, state.answers, state.asked),
        None => Default::default(),
    };
    let new = responses.into_iter().flatten().map(|(key, answer)| {
        let was_asked = asked.contains(key);
        let answer = answer.clone();
        (key.clone(), Known { answer, was_asked })
    });
    let mut known: BTreeMap<_, _> = new.collect();
    known.extend(earlier.into_iter().map(|(key, answer)| {
        let was_asked = true;
        (key, Known { answer, was_asked })
    }));
    Answers { round, known }
}

/// Encodes the result that sends a client away for answers. The state counts for `lifetime`.
///
/// # Errors
///
/// `-32603` if the state cannot be sealed, which needs a system without random bits.
pub fn input_required(
    (seal, now): (&Seal, SystemTime),
    lifetime: Duration,
    retry: &Retry,
    required: InputRequired,
    catalog: &Catalog,
) -> Result<Box<RawValue>, ErrorObject> {
    let state = State {
        until: seconds(now).saturating_add(lifetime.as_secs()),
        round: required.round,
        answers: required.answers.into_iter().collect(),
        asked: required.requests.keys().cloned().collect(),
    };
    let text = raw(&state)?;
    let sealed = seal.seal(&retry.place.0, text.get().as_bytes());
    let sealed = sealed.ok_or_else(|| {
        tracing::error!("the state of a call could not be sealed");
        ErrorObject::new(
            INTERNAL_ERROR,
            "Internal error: the state of the call could not be sealed",
        )
    })?;
    let result = json!({"inputRequests": required.requests, "requestState": sealed});
    let server = super::implementation(catalog);
    raw(&ModernResult::input_required(&result, &server))
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

impl Place {
    fn of(
        caller: &Principal,
        method: &str,
        (name, digest): (&str, ToolDigest),
        arguments: Option<&Map<String, Value>>,
    ) -> Self {
        let caller = caller.identity().map(|identity| {
            let issuer = format!("{:?}", identity.issuer);
            json!([issuer, identity.subject, identity.tenant])
        });
        let mut text = json!(["mcp-serve 3", caller, method, name, digest.bytes()]).to_string();
        // Whether there are no arguments or none are given is the same.
        let none = Map::new();
        canonical::write_object(&mut text, arguments.unwrap_or(&none));
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::auth::Issuer;
    use crate::catalog::Environment;

    const LIFETIME: Duration = Duration::from_mins(10);

    const TOOL: &str = "{description: d, exec: /bin/true, confirm: Sure?}";

    fn user(subject: &str, tenant: Option<&str>) -> Principal {
        Principal::user(Issuer::AuthFile, subject, tenant.map(str::to_owned))
    }

    fn tools(text: &str) -> Catalog {
        let path = Path::new("tools.yaml");
        let loaded = Catalog::parse(text, path, &Environment::default());
        loaded.unwrap().catalog
    }

    fn digest(text: &str) -> ToolDigest {
        let catalog = tools(&format!("tools: {{t: {text}}}"));
        catalog.tool("t").unwrap().digest
    }

    /// A request as it is read.
    struct Case {
        now: SystemTime,
        caller: Principal,
        method: &'static str,
        name: &'static str,
        digest: ToolDigest,
        arguments: Value,
    }

    impl Case {
        fn new() -> Self {
            Self {
                now: UNIX_EPOCH + Duration::from_secs(1000),
                caller: user("ann", None),
                method: "tools/call",
                name: "wipe",
                digest: digest(TOOL),
                arguments: json!({"a": 1, "b": {"x": [1, {"p": 1, "q": 2}], "y": null}}),
            }
        }

        fn read(&self, seal: &Seal, params: &Value) -> Result<Retry, i32> {
            let arguments = self.arguments.as_object();
            let named = (self.name, self.digest);
            let place = Place::of(&self.caller, self.method, named, arguments);
            let params = params.as_object().unwrap();
            read((seal, self.now), place, params).map_err(|error| error.code)
        }

        /// The state of a client that is sent away to answer `key`.
        fn state(&self, seal: &Seal, retry: &Retry, key: &str) -> String {
            let known = retry.answers.known.iter();
            let required = InputRequired {
                requests: Map::from_iter([(key.to_owned(), json!({"method": "roots/list"}))]),
                round: retry.answers.round + 1,
                answers: known
                    .map(|(key, known)| (key.clone(), known.answer.clone()))
                    .collect(),
            };
            let sealing = (seal, self.now);
            let catalog = tools("tools: {}");
            let result = input_required(sealing, LIFETIME, retry, required, &catalog).unwrap();
            let result: Value = serde_json::from_str(result.get()).unwrap();
            assert_eq!(result["resultType"], "input_required");
            assert_eq!(
                result["inputRequests"],
                json!({key: {"method": "roots/list"}})
            );
            result["requestState"].as_str().unwrap().to_owned()
        }
    }

    #[test]
    fn answers_are_carried_from_round_to_round() {
        let (seal, case) = (Seal::random(), Case::new());
        let first = case.read(&seal, &json!({})).unwrap();
        assert_eq!(first.answers, Answers::default());
        let one = case.state(&seal, &first, "a");
        let second = json!({"requestState": one, "inputResponses": {"a": 1, "z": 2}});
        let second = case.read(&seal, &second).unwrap();
        assert_eq!(second.answers.round, 1);
        let known = |answer: Value, was_asked| Known { answer, was_asked };
        assert_eq!(second.answers.known["a"], known(json!(1), true));
        assert_eq!(second.answers.known["z"], known(json!(2), false));
        let two = case.state(&seal, &second, "b");
        assert_ne!(one, two);
        // What was answered once cannot be answered otherwise.
        let third = json!({"requestState": two, "inputResponses": {"a": 7, "b": 3}});
        let third = case.read(&seal, &third).unwrap();
        assert_eq!(third.answers.round, 2);
        assert_eq!(third.answers.known["a"], known(json!(1), true));
        assert_eq!(third.answers.known["b"], known(json!(3), true));
        assert_ne!(case.state(&seal, &third, "b"), two);
        assert_ne!(
            case.state(&seal, &third, "b"),
            case.state(&seal, &third, "b")
        );
    }

    #[test]
    fn answers_need_no_state() {
        let (seal, case) = (Seal::random(), Case::new());
        let params = json!({"requestState": null, "inputResponses": {"a": 1}});
        let retry = case.read(&seal, &params).unwrap();
        assert_eq!(retry.answers.round, 0);
        assert!(!retry.answers.known["a"].was_asked);
        for nothing in [json!(null), json!([]), json!("a"), json!({})] {
            let params = json!({ "inputResponses": nothing });
            let retry = case.read(&seal, &params).unwrap();
            assert!(retry.answers.known.is_empty(), "{nothing}");
        }
    }

    #[test]
    fn a_state_counts_for_its_request_only_and_for_a_while() {
        let (seal, case) = (Seal::random(), Case::new());
        let first = case.read(&seal, &json!({})).unwrap();
        let params = json!({"requestState": case.state(&seal, &first, "a")});
        let other = |change: fn(&mut Case)| {
            let mut case = Case::new();
            change(&mut case);
            case.read(&seal, &params).map(|retry| retry.answers.round)
        };
        assert_eq!(other(|_| ()), Ok(1));
        assert_eq!(other(|case| case.now += LIFETIME), Ok(1));
        let reordered = json!({"b": {"y": null, "x": [1, {"q": 2, "p": 1}]}, "a": 1});
        let mut same = Case::new();
        same.arguments = reordered;
        assert!(same.read(&seal, &params).is_ok());
        let changes: [fn(&mut Case); 12] = [
            |case| case.now += LIFETIME + Duration::from_secs(1),
            |case| case.caller = user("bob", None),
            |case| case.caller = user("ann", Some("t")),
            |case| case.caller = Principal::Anonymous,
            |case| case.caller = Principal::user(Issuer::TokenFile, "ann", None),
            |case| case.method = "prompts/get",
            |case| case.name = "wipe2",
            |case| case.digest = digest(&TOOL.replace("Sure", "Really")),
            |case| case.digest = digest(&TOOL.replace("true", "false")),
            |case| case.arguments = json!({"a": 1}),
            |case| case.arguments = json!(null),
            |case| case.arguments["b"]["x"][1]["p"] = json!("1"),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert_eq!(other(change), Err(-32602), "{number}");
        }
        assert_eq!(case.read(&Seal::random(), &params).err(), Some(-32602));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let (seal, case) = (Seal::random(), Case::new());
        let first = case.read(&seal, &json!({})).unwrap();
        let state = case.state(&seal, &first, "a");
        let foreign = seal.seal(&first.place.0, b"{}").unwrap();
        let long = "A".repeat(MAX_STATE + 1);
        let states = [
            json!(format!("{state}-TAMPERED")),
            json!(state[1..]),
            json!(foreign),
            json!(long),
            json!(""),
            json!(7),
            json!({}),
            json!([state]),
        ];
        for state in states {
            let read = case.read(&seal, &json!({ "requestState": state }));
            assert_eq!(read.err(), Some(-32602), "{state}");
        }
    }

    #[test]
    fn an_absent_object_of_arguments_is_an_empty_one() {
        let place = |arguments: Value| {
            Place::of(
                &Principal::Anonymous,
                "tools/call",
                ("t", ToolDigest::default()),
                arguments.as_object(),
            )
        };
        assert_eq!(place(json!(null)), place(json!({})));
        assert_ne!(place(json!({"a": "1"})), place(json!({"a": 1})));
        assert_ne!(place(json!({"a": [1, 2]})), place(json!({"a": [12]})));
        assert_ne!(
            place(json!({"a": {"b": 1}})),
            place(json!({"a": {}, "b": 1}))
        );
    }
}
