use super::super::ask;
use super::*;
use crate::protocol::input::Known;
use crate::protocol::version::ProtocolVersion;

fn capabilities(value: &Value) -> ClientCapabilities {
    ClientCapabilities::read(value.as_object().unwrap(), ProtocolVersion::V2026_07_28)
}

fn asked(value: Value) -> Ask {
    match value {
        Value::Object(object) => ask::read(object).unwrap(),
        _ => panic!("an object"),
    }
}

fn name_form(id: &str) -> Value {
    json!({"id": id, "message": "m", "schema": {
        "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]
    }})
}

fn accept(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

fn retry(round: u8, known: &Value, was_asked: bool) -> Input {
    let known = known.as_object().unwrap().iter().map(|(key, answer)| {
        let answer = answer.clone();
        (key.clone(), Known { answer, was_asked })
    });
    Input::Retry(Answers {
        round,
        known: known.collect(),
    })
}

/// A round of a call that asks these, one after the other: the lines that it is told, and why
/// it has to end.
async fn round(can: Value, input: Input, asks: &[Value]) -> (Vec<Value>, Option<Unanswered>) {
    let mut conversation = Conversation::new(capabilities(&can), input, Duration::from_mins(1));
    let mut told = Vec::new();
    for ask in asks {
        conversation.ask(asked(ask.clone()));
        if conversation.must_end() {
            break;
        }
        while conversation.has_answers() {
            let line = conversation.answered().await;
            told.push(serde_json::from_slice(&line).unwrap());
        }
    }
    (told, conversation.unanswered())
}

fn required(unanswered: Option<Unanswered>) -> (Vec<String>, u8, Value) {
    match unanswered {
        Some(Unanswered::Required(required)) => (
            required.requests.keys().cloned().collect(),
            required.round,
            Value::Object(required.answers),
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_ends_at_the_first_question_without_an_answer() {
    let elicitation = json!({"elicitation": {}});
    let asks = [name_form("a"), name_form("b"), name_form("a")];
    let cases = [
        (json!({}), 0, "a", json!({})),
        (json!({"x": accept("x")}), 0, "a", json!({})),
        (json!({"a": accept("x")}), 1, "b", json!({"a": accept("x")})),
        (json!({"b": accept("x")}), 0, "a", json!({})),
        (json!({"a": null}), 0, "a", json!({})),
        (
            json!({"a": {"action": "accept", "content": {"name": 12345}}}),
            0,
            "a",
            json!({}),
        ),
        (json!({"a": {"action": "accept"}}), 0, "a", json!({})),
        (
            json!({"a": accept("x"), "b": {"action": "decline"}, "z": 1}),
            2,
            "a#2",
            json!({"a": accept("x"), "b": {"action": "decline"}}),
        ),
    ];
    for (known, told, key, answers) in cases {
        let input = retry(3, &known, false);
        let (lines, unanswered) = round(elicitation.clone(), input, &asks).await;
        assert_eq!(lines.len(), told, "{known}");
        assert_eq!(
            required(unanswered),
            (vec![key.to_owned()], 4, answers),
            "{known}"
        );
    }
    let known = json!({"a": accept("x"), "b": accept("y"), "a#2": accept("z")});
    let (lines, unanswered) = round(elicitation, retry(3, &known, false), &asks).await;
    assert_eq!(unanswered, None);
    let names = lines.iter().map(|line| &line["content"]["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["x", "y", "z"]);
}

/// They come in one read when a program does not wait for its answers.
#[tokio::test]
async fn what_is_asked_after_an_open_question_waits_for_the_next_round() {
    let can = capabilities(&json!({"elicitation": {}}));
    let rounds = [
        (json!({}), "a", json!({})),
        (json!({"a": accept("x")}), "b", json!({"a": accept("x")})),
    ];
    for (known, key, answers) in rounds {
        let input = retry(1, &known, true);
        let mut conversation = Conversation::new(can.clone(), input, Duration::from_mins(1));
        for id in ["a", "b", "c"] {
            conversation.ask(asked(name_form(id)));
        }
        let found = required(conversation.unanswered());
        assert_eq!(found, (vec![key.to_owned()], 2, answers), "{known}");
    }
}

#[tokio::test]
async fn a_program_that_asks_on_and_on_is_stopped() {
    let reason = "nobody is there";
    let (can, bound) = (capabilities(&json!({})), Duration::from_mins(1));
    let mut conversation = Conversation::new(can, Input::Nobody(reason), bound);
    for number in 0..MAX_READY {
        conversation.ask(asked(name_form("a")));
        assert!(!conversation.must_end(), "{number}");
        assert!(!conversation.is_asking(), "its time runs on");
    }
    assert!(conversation.has_answers());
    conversation.tell(Vec::new());
    assert_eq!(conversation.unanswered(), Some(Unanswered::Unread));
}

#[tokio::test]
async fn a_client_is_asked_only_what_it_can_do() {
    let all = json!({"requests": {
        "e": {"method": "elicitation/create", "params": {"message": "m", "requestedSchema": {"type": "object", "properties": {}}}},
        "s": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}},
        "r": {"method": "roots/list"},
    }});
    let (_, unanswered) = round(
        json!({"sampling": {}}),
        retry(0, &json!({}), false),
        std::slice::from_ref(&all),
    )
    .await;
    assert_eq!(required(unanswered).0, ["s"]);
    let known = json!({"s": {"role": "assistant", "content": {}, "model": "m"}, "e": accept("x")});
    let (told, _) = round(
        json!({"sampling": {}}),
        retry(1, &known, true),
        std::slice::from_ref(&all),
    )
    .await;
    assert_eq!(told[0]["s"]["role"], "assistant");
    assert_eq!(told[0]["e"]["error"]["code"], MISSING_CLIENT_CAPABILITY);
    let (_, unanswered) = round(json!({}), retry(0, &json!({}), false), &[all]).await;
    let missing = vec![
        Capability::Sampling,
        Capability::Elicitation,
        Capability::Roots,
    ];
    assert_eq!(unanswered, Some(Unanswered::Missing(missing)));
}

#[tokio::test]
async fn rounds_and_answers_are_bounded() {
    let can = json!({"elicitation": {}});
    let asks = [name_form("a"), name_form("b")];
    let (_, unanswered) = round(can.clone(), retry(15, &json!({}), true), &asks).await;
    assert_eq!(required(unanswered).1, 16);
    let (_, unanswered) = round(can.clone(), retry(16, &json!({}), true), &asks).await;
    assert_eq!(unanswered, Some(Unanswered::TooOften));
    let known = json!({"a": accept(&"x".repeat(MAX_ANSWERS))});
    let (_, unanswered) = round(can, retry(1, &known, true), &asks).await;
    assert_eq!(unanswered, Some(Unanswered::TooLarge));
}

#[tokio::test]
async fn a_definition_is_answered_only_when_it_has_asked() {
    let can = json!({"elicitation": {}});
    for (was_asked, is_answered) in [(false, false), (true, true)] {
        let input = retry(0, &json!({"a": accept("x")}), was_asked);
        let bound = Duration::from_mins(1);
        let mut conversation = Conversation::new(capabilities(&can), input, bound);
        let replies = conversation.ask_first(&asked(name_form("a"))).await;
        assert_eq!(replies.is_ok(), is_answered);
    }
}

/// A client that answers each request with this, or never.
#[derive(Debug)]
struct Always(Option<Answer>);

impl Client for Always {
    fn ask(&self, _: &InputRequest) -> BoxFuture<'static, Answer> {
        match self.0.clone() {
            Some(answer) => Box::pin(async move { answer }),
            None => Box::pin(std::future::pending()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_client_answers_well_and_in_time_or_the_tool_is_told() {
    let can = json!({"elicitation": {}, "roots": {}});
    let roots = json!({"requests": {"r": {"method": "roots/list"}}});
    let error = |code, message: &str| json!({"code": code, "message": message});
    let cases = [
        (
            Some(Ok(accept("x"))),
            name_form("a"),
            json!({"id": "a", "action": "accept", "content": {"name": "x"}}),
        ),
        (
            Some(Ok(json!({"action": "decline"}))),
            name_form("a"),
            json!({"id": "a", "action": "decline"}),
        ),
        (None, name_form("a"), json!({"id": "a", "action": "cancel"})),
        (
            None,
            roots,
            json!({"r": {"error": error(NOT_ANSWERED, "the client did not answer in time")}}),
        ),
        (
            Some(Err(ErrorObject::new(-7, "no"))),
            name_form("a"),
            json!({"id": "a", "error": error(-7, "no")}),
        ),
        (
            Some(Ok(json!({"action": "accept", "content": {"name": 1}}))),
            name_form("a"),
            json!({"id": "a", "error": error(INVALID_PARAMS, "the answer of the client is not valid: /name must be a string")}),
        ),
        (
            Some(Ok(accept("x"))),
            json!({"id": "u", "message": "m", "url": "https://a"}),
            json!({"id": "u", "error": error(
                MISSING_CLIENT_CAPABILITY,
                "the client cannot be asked: it lacks the capability elicitation.url"
            )}),
        ),
    ];
    for (answer, ask, expected) in cases {
        let input = Input::Live(Box::new(Always(answer)));
        let (told, unanswered) = round(can.clone(), input, &[ask]).await;
        assert_eq!(told, [expected]);
        assert_eq!(unanswered, None);
    }
}

#[tokio::test]
async fn a_program_that_asks_on_and_on_is_refused() {
    let can = json!({"elicitation": {}});
    let input = Input::Live(Box::new(Always(None)));
    let bound = Duration::from_mins(1);
    let mut conversation = Conversation::new(capabilities(&can), input, bound);
    for _ in 0..=MAX_OPEN {
        conversation.ask(asked(name_form("a")));
    }
    let line: Value = serde_json::from_slice(&conversation.answered().await).unwrap();
    assert_eq!(line["error"]["code"], NOT_ANSWERED);
    let nobody = Input::Nobody("nobody listens");
    let asks = vec![name_form("a"); MAX_ASKED + 1];
    let (told, _) = round(can, nobody, &asks).await;
    assert_eq!(told[0]["error"]["message"], "nobody listens");
    assert_eq!(told[MAX_ASKED]["error"]["code"], NOT_ANSWERED);
}
