//! The standard output of one call: what is kept of it, and what it says on the way.

use std::future::pending;

use serde_json::Value;
use tokio::time::Instant;

use super::conversation::Conversation;
use super::kept::{Beyond, Overflow, Rest};
use super::lines::Lines;
use super::matched::Scanner;
use super::messages::{self, Line};
use super::reporter::Reporter;
use crate::catalog::{Channel, Tool};
use crate::protocol::content::Uri;
use crate::protocol::jsonrpc::ErrorObject;
use crate::protocol::mcp::CallToolResult;
use crate::protocol::media::MediaType;
use crate::protocol::progress::Progress;
use crate::protocol::prompts::PromptMessage;
use crate::redact::Redactor;

/// What arrives on standard output, and where it goes.
pub(super) struct Stdout<'a> {
    /// Finds the lines that are progress, if the definition knows such lines there.
    scanner: Option<Scanner<'a>>,
    lines: Lines,
    reporter: Reporter<'a>,
    /// Nobody to talk with makes every line output.
    talk: Option<Talk<'a>>,
}

/// What a tool printed.
#[derive(Debug, Default)]
pub(super) struct Printed {
    /// All that was no message.
    pub(super) output: Vec<u8>,
    /// What goes beyond what it may print, if that is kept.
    pub(super) rest: Rest,
    /// What the output is, if a response says so.
    pub(super) media: Option<MediaType>,
    /// Where all of it can be read, if that is so.
    pub(super) link: Option<Link>,
    /// What the filter of the definition made of the output.
    pub(super) selected: Option<Vec<Value>>,
    /// The result that it gave in a message.
    pub(super) result: Option<Given>,
    /// The line of a message that was longer than the output may be.
    pub(super) cut_message: Option<u64>,
    /// What hides the credential that it was asked for with, which the definition need not know.
    pub(super) credential: Redactor,
}

impl Printed {
    /// What takes secrets out of the output of a tool.
    pub(super) fn secrets(&self, tool: &Tool) -> Redactor {
        tool.secrets().and(&self.credential)
    }

    /// The last that is kept of the output, without what may be a part of a secret.
    pub(super) fn end<'a>(&'a self, secrets: &Redactor) -> &'a [u8] {
        match &self.rest {
            Rest::Nothing => &self.output,
            Rest::End(end) => secrets.cut_start(&end.bytes),
            Rest::Spill(_) => secrets.cut_end(&self.output),
        }
    }
}

/// Where an output can be read that is larger than a result may be.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) uri: Uri,
    pub(super) media: MediaType,
    pub(super) bytes: u64,
}

/// A result that a tool gave in a message.
#[derive(Debug, PartialEq)]
pub(super) enum Given {
    /// One that can be sent.
    Valid(CallToolResult),
    /// An error of JSON-RPC in its place.
    Error(ErrorObject),
    /// The messages of a prompt.
    Messages(Vec<PromptMessage>),
    /// One that cannot.
    Invalid {
        /// The number of its line.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl<'a> Stdout<'a> {
    /// Nothing has arrived. What the tool says is reported, what it asks goes into the conversation.
    pub(super) fn new(
        (tool, beyond): (&'a Tool, Beyond),
        call: u64,
        reporter: Reporter<'a>,
        conversation: &'a mut Conversation,
    ) -> Self {
        let progress = tool.progress.as_ref();
        let progress = progress.filter(|lines| lines.from == Channel::Stdout);
        Self {
            scanner: progress.map(|lines| Scanner::new(lines, tool.secrets())),
            lines: Lines::new(tool.max_output, beyond),
            reporter,
            talk: tool.messages.then(|| Talk {
                tool: &tool.name,
                secrets: tool.secrets(),
                call,
                conversation,
                result: None,
                warned: Warned::default(),
            }),
        }
    }

    /// Nothing has arrived, and everything is output, of which there may be so many bytes.
    pub(super) fn unheard(limit: usize, reporter: Reporter<'a>) -> Self {
        Self {
            scanner: None,
            lines: Lines::new(limit, Beyond::Nothing),
            reporter,
            talk: None,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`Overflow`] when it is more than the tool may print. Nothing may be pushed after that.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        if self.scanner.is_none() {
            return self.push_lines(bytes);
        }
        // Line by line, so that messages and lines that are progress keep their order.
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let tell = |progress| self.reporter.report(progress);
            let rest = self
                .scanner
                .as_mut()
                .map(|scanner| scanner.push(line, tell));
            self.push_lines(&rest.unwrap_or_default())?;
        }
        Ok(())
    }

    /// Takes the end of the output.
    ///
    /// # Errors
    ///
    /// As [`Stdout::push`].
    pub(super) fn finish(&mut self) -> Result<(), Overflow> {
        let finished = self.finish_lines();
        self.reporter.tell_held_back();
        finished
    }

    fn push_lines(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let reporter = &mut self.reporter;
        match &mut self.talk {
            None => self.lines.keep(bytes),
            Some(talk) => self
                .lines
                .push(bytes, |number, line| talk.hear(number, line, reporter)),
        }
    }

    fn finish_lines(&mut self) -> Result<(), Overflow> {
        if let Some(scanner) = &mut self.scanner {
            let rest = scanner.finish(|progress| self.reporter.report(progress));
            self.push_lines(&rest)?;
        }
        let Some(talk) = &mut self.talk else {
            return Ok(());
        };
        let reporter = &mut self.reporter;
        self.lines
            .finish(|number, line| talk.hear(number, line, reporter))
    }

    /// Tells progress that stands elsewhere.
    pub(super) fn report(&mut self, progress: Progress) {
        self.reporter.report(progress);
    }

    /// When [`Stdout::tell_due`] is due.
    pub(super) fn due(&self) -> Instant {
        self.reporter.due()
    }

    /// Tells the progress that came too fast, or that the call goes on.
    pub(super) fn tell_due(&mut self) {
        self.reporter.tell_due();
    }

    /// True while output waits to be written into its file. Nothing more should be pushed then.
    pub(super) fn is_behind(&mut self) -> bool {
        self.lines.spill().is_some()
    }

    /// True if the call has to end: what the tool asks is answered to a later call.
    pub(super) fn must_end(&self) -> bool {
        let talk = self.talk.as_ref();
        talk.is_some_and(|talk| talk.conversation.must_end())
    }

    /// True while the tool waits for an answer.
    pub(super) fn is_asking(&self) -> bool {
        let talk = self.talk.as_ref();
        talk.is_some_and(|talk| talk.conversation.is_asking())
    }

    /// True while there is something for [`Stdout::proceed`], or will be.
    pub(super) fn has_work(&mut self) -> bool {
        let is_behind = self.is_behind();
        let talk = self.talk.as_ref();
        is_behind || talk.is_some_and(|talk| talk.conversation.has_answers())
    }

    /// The next line that answers the tool; an empty one after a part of what waits was written.
    /// Must only be awaited while [`Stdout::has_work`].
    ///
    /// # Errors
    ///
    /// [`Overflow`] when output could not be written.
    ///
    /// # Cancel safety
    ///
    /// No line is lost if this is dropped before it completes, and no output.
    pub(super) async fn proceed(&mut self) -> Result<Vec<u8>, Overflow> {
        let (talk, spill) = (&mut self.talk, self.lines.spill());
        let answered = async {
            match talk {
                Some(talk) if talk.conversation.has_answers() => talk.conversation.answered().await,
                _ => pending().await,
            }
        };
        let written = async {
            match spill {
                Some(spill) => spill.write().await,
                None => pending().await,
            }
        };
        tokio::select! {
            line = answered => Ok(line),
            written = written => written.map(|()| Vec::new()),
        }
    }

    /// What was printed.
    pub(super) fn printed(self) -> Printed {
        // What is left over is what did not fit.
        let is_cut = messages::looks_like_one(self.lines.candidate());
        let cut_message = is_cut.then(|| self.lines.number());
        let (output, rest) = self.lines.into_output();
        Printed {
            output,
            rest,
            media: None,
            link: None,
            selected: None,
            result: self.talk.and_then(|talk| talk.result),
            cut_message,
            credential: Redactor::default(),
        }
    }
}

/// What a tool has said so far.
struct Talk<'a> {
    tool: &'a str,
    secrets: &'a Redactor,
    call: u64,
    conversation: &'a mut Conversation,
    result: Option<Given>,
    warned: Warned,
}

/// Complaints that were made: a tool that errs on each line does not fill the log.
#[derive(Default)]
struct Warned {
    unusable: bool,
    broken: bool,
    second_result: bool,
}

impl Talk<'_> {
    /// Takes a line; false if it is no message.
    fn hear(&mut self, number: u64, line: &[u8], reporter: &mut Reporter<'_>) -> bool {
        let (call, tool) = (self.call, self.tool);
        match messages::read(line, self.secrets) {
            Line::Output => {
                if messages::looks_like_one(line) && first(&mut self.warned.broken) {
                    tracing::warn!(
                        call,
                        tool,
                        line = number,
                        "a line of a tool looks like a message but is not valid JSON, and was taken as output"
                    );
                }
                return false;
            }
            Line::Progress(progress) => reporter.report(progress),
            Line::Said(said) => reporter.say(said),
            Line::Ask(Ok(ask)) => {
                reporter.tell_held_back();
                self.conversation.ask(ask);
            }
            Line::Ask(Err(unusable)) => {
                if first(&mut self.warned.unusable) {
                    let reason = unusable.reason;
                    tracing::warn!(
                        call,
                        tool,
                        line = number,
                        reason,
                        "a tool asked what cannot be asked"
                    );
                }
                self.conversation.tell(unusable.line);
            }
            Line::Result(_) | Line::Messages(_) | Line::Error(_) if self.result.is_some() => {
                if first(&mut self.warned.second_result) {
                    tracing::error!(
                        call,
                        tool,
                        line = number,
                        "a tool gave a second result, which was dropped"
                    );
                }
            }
            Line::Messages(messages) => self.result = Some(Given::Messages(messages)),
            Line::Result(Ok(result)) => self.result = Some(Given::Valid(result)),
            Line::Error(error) => self.result = Some(Given::Error(error)),
            Line::Result(Err(reason)) => {
                tracing::warn!(
                    call,
                    tool,
                    line = number,
                    reason,
                    "a tool gave a result that is not valid"
                );
                self.result = Some(Given::Invalid {
                    line: number,
                    reason,
                });
            }
            Line::Unusable(reason) => {
                if first(&mut self.warned.unusable) {
                    tracing::warn!(
                        call,
                        tool,
                        line = number,
                        reason,
                        "a message of a tool was dropped"
                    );
                }
            }
        }
        true
    }
}

/// True the first time.
fn first(done: &mut bool) -> bool {
    !std::mem::replace(done, true)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::catalog::{Catalog, Environment};
    use crate::execute::{Input, Listener, Outcome, Said};
    use crate::protocol::capabilities::ClientCapabilities;

    /// Notes what it hears.
    #[derive(Default)]
    struct Notes(Vec<Said>);

    impl Listener for Notes {
        fn said(&mut self, said: Said) {
            self.0.push(said);
        }

        fn done(self: Box<Self>, _: Outcome) {}
    }

    /// What is heard and printed with these settings, in parts of this many bytes.
    fn hear(settings: &str, output: &str, size: usize) -> (Vec<String>, Printed) {
        let text = format!("tools: {{t: {{description: d, exec: /bin/cat, {settings}}}}}");
        let environment = Environment::default();
        let loaded = Catalog::parse(&text, Path::new("tools.yaml"), &environment).unwrap();
        let mut notes = Notes::default();
        let nobody = Input::Nobody("nobody listens");
        let bound = Duration::from_secs(1);
        let mut conversation = Conversation::new(ClientCapabilities::default(), nobody, bound);
        let tool = loaded.catalog.tool("t").unwrap();
        let reporter = Reporter::new(&mut notes);
        let mut stdout = Stdout::new((tool, Beyond::Nothing), 1, reporter, &mut conversation);
        let mut parts = output.as_bytes().chunks(size);
        if parts.all(|part| stdout.push(part).is_ok()) {
            stdout.finish().ok();
        }
        let printed = stdout.printed();
        let said = notes.0.into_iter().filter_map(|said| match said {
            Said::Progress(progress) => Some(progress.progress.to_string()),
            _ => None,
        });
        (said.collect(), printed)
    }

    #[test]
    fn a_tool_is_heard_and_the_rest_is_output() {
        let output = "first\n\
            {\"mcp\":\"progress\",\"progress\":1}\n\
            {\"other\":true}\r\n\
            {\"mcp\":\"log\",\"data\":\"x\"}\n\
            \t{\"mcp\":\"progress\",\"progress\":2,\"total\":3}\r\n\
            {\"mcp\":\"progress\",\"progress\":2}\n\
            {\"mcp\":\"progress\",\"progress\":1.5}\n\
            {\"mcp\":\"progress\"}\n\
            {\"mcp\":\"progress\",\"progress\":\n\
            last{\"mcp\":\"progress\",\"progress\":4}\n\
            {\"mcp\":\"progress\",\"progress\":3}";
        for size in 1..=output.len() {
            let (said, printed) = hear("messages: true", output, size);
            assert_eq!(said, ["1", "2", "3"], "{size}");
            assert_eq!(
                String::from_utf8(printed.output).unwrap(),
                "first\n{\"other\":true}\r\n{\"mcp\":\"progress\",\"progress\":\n\
                 last{\"mcp\":\"progress\",\"progress\":4}\n"
            );
            assert_eq!(printed.result, None);
            assert_eq!(printed.cut_message, None);
        }
        let (said, printed) = hear("messages: false", output, 7);
        assert_eq!(
            (said.len(), printed.output),
            (0, output.as_bytes().to_owned())
        );
    }

    #[test]
    fn the_first_result_counts() {
        let result = |text: &str| {
            let piece = json!({"type": "text", "text": text});
            json!({"mcp": "result", "content": [piece]}).to_string()
        };
        let (one, two) = (result("one"), result("two"));
        let invalid = r#"{"mcp":"result"}"#;
        let valid = || Some(Given::Valid(CallToolResult::text("one")));
        let refused = |line| {
            let reason = "it has neither `content` nor `structuredContent`".to_owned();
            Some(Given::Invalid { line, reason })
        };
        let cases = [
            (one.clone(), valid(), ""),
            (
                format!("before\n{one}\nafter\n"),
                valid(),
                "before\nafter\n",
            ),
            (format!("{one}\n{two}\n"), valid(), ""),
            (format!("{one}\n{invalid}\n"), valid(), ""),
            (format!("\n{invalid}\n{one}\n"), refused(2), "\n"),
        ];
        for (output, expected, kept) in cases {
            for size in 1..=output.len() {
                let (_, printed) = hear("messages: true", &output, size);
                assert_eq!(printed.result, expected, "{output}");
                assert_eq!(printed.output, kept.as_bytes(), "{output}");
            }
        }
    }

    #[test]
    fn a_message_beyond_the_limit_is_known_as_one() {
        let settings = "messages: true, max_output: 40";
        let long = "x".repeat(40);
        let cases = [
            (
                format!("a\n{{\"mcp\":\"result\",\"content\":\"{long}"),
                Some(2),
            ),
            (format!("{{ \"mcp\": \"{long}\"}}\n"), Some(1)),
            (format!("{{\"a\":\"{long}\"}}\n"), None),
            (format!("{long}x"), None),
            (
                format!("0123456789\n{{\"mcp\":\"{}\"\n", "x".repeat(25)),
                None,
            ),
        ];
        for (output, cut_message) in cases {
            for size in 1..=output.len() {
                let (_, printed) = hear(settings, &output, size);
                assert_eq!(printed.cut_message, cut_message, "{output}");
                assert_eq!(printed.output.len(), 40, "{output}");
            }
        }
    }
}
