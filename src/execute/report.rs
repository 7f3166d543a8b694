//! What the model is told about a call: the output, or what went wrong and what it can do.

use std::borrow::Cow;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::Outcome;
use super::conversation::{MAX_ANSWERS, MAX_ROUNDS};
use super::output::{self, Failed};
use super::process::End;
use super::starting::NotStarted;
use super::stdout::{Given, Printed};
use crate::catalog::{ArgumentError, ExitMeaning, Form, MAX_FILE_BYTES, Stderr, Tool};
use crate::protocol::content::Content;
use crate::protocol::mcp::CallToolResult;
use crate::protocol::plain::plain;
use crate::redact::Redactor;
use crate::sandbox::Failure;

/// How much of an output an error repeats, in bytes from its end.
const MAX_ERROR_OUTPUT: usize = 4096;

/// Signals by which the kernel says that a limit is reached.
const SIGXCPU: i32 = Signal::XCPU.as_raw();
const SIGXFSZ: i32 = Signal::XFSZ.as_raw();

/// What the log calls a call whose time was over.
pub const TIMEOUT: &str = "timeout";
/// What the log calls a call whose time was over before it was its turn.
pub const WAITED_TOO_LONG: &str = "waited too long";
/// What the log calls a call whose arguments break a rule of its tool.
pub const INVALID_ARGUMENTS: &str = "invalid arguments";

const LEFT_BEHIND: &str = "[the program left processes behind that kept its output open; the output \
    may be incomplete]";

/// What came of a file.
pub(super) fn read(tool: &Tool, path: &Path, read: io::Result<Option<Vec<u8>>>) -> Outcome {
    match read {
        // What a tool printed is told as its results are.
        Ok(Some(bytes)) if tool.output.form == Form::Text => {
            Outcome::Bytes(output::with_notes(&bytes, None).into_bytes())
        }
        Ok(Some(bytes)) => Outcome::Bytes(bytes),
        Ok(None) => {
            let most = MAX_FILE_BYTES / 1024 / 1024;
            let text =
                format!("the file has more than {most} MiB, which is the most that is served");
            failed(text, "file too large")
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a file could not be read");
            let cause = match error.kind() {
                io::ErrorKind::NotFound => "it is gone",
                io::ErrorKind::PermissionDenied => "the server may not read it",
                _ => "the log of the server says why",
            };
            failed(
                format!("the file could not be read: {cause}"),
                "unreadable file",
            )
        }
    }
}

/// True if a process ended well and its output is the result.
pub(super) fn is_result(tool: &Tool, printed: &Printed, end: &End) -> bool {
    let (End::Exited(status) | End::ExitedLeaving(status)) = end else {
        return false;
    };
    let meaning = status.code().map(|code| tool.exit.meaning(code));
    meaning == Some(ExitMeaning::Ok) && printed.result.is_none()
}

/// What came of a process that ended by itself, or printed too much. `stderr` is the end of its
/// standard error.
pub(super) fn outcome(tool: &Tool, mut printed: Printed, end: &End, stderr: &[u8]) -> Outcome {
    let stderr = match tool.output.stderr {
        Stderr::Never | Stderr::Merge => &[],
        Stderr::OnError | Stderr::Always => stderr,
    };
    let (status, note) = match end {
        End::Exited(status) => (*status, None),
        End::ExitedLeaving(status) => (*status, Some(LEFT_BEHIND)),
        End::OutOfMemory(status) => {
            let reason = reason(*status) + " when memory ran out";
            return Outcome::Result {
                result: failure(tool, &reason, &printed, stderr),
                how: words(*status),
            };
        }
        End::Overflow => {
            return Outcome::Result {
                result: output::cut(tool, &printed),
                how: "too much output".into(),
            };
        }
    };
    let meaning = status.code().map(|code| tool.exit.meaning(code));
    let is_raw = tool.output.form == Form::Raw;
    let (result, how) = match (meaning, printed.result.take()) {
        (_, Some(Given::Error(error))) => return Outcome::Error(error),
        (Some(ExitMeaning::Ok), None) if is_raw => return raw(printed.output, note),
        (Some(ExitMeaning::Ok), None) => {
            let result = output::result(tool, printed, note);
            settled(result.map(|result| with_stderr(tool, result, stderr)))
        }
        (Some(ExitMeaning::Ok), Some(Given::Messages(messages))) => {
            return Outcome::Messages(messages);
        }
        (Some(ExitMeaning::Ok), Some(Given::Valid(result))) => {
            settled(output::checked(tool, result))
        }
        (Some(ExitMeaning::Ok), Some(Given::Invalid { line, reason })) => {
            (invalid(line, &reason), "invalid result".into())
        }
        (Some(ExitMeaning::Message(message)), _) => (CallToolResult::error(message), words(status)),
        // The tool has said itself what went wrong.
        (_, Some(Given::Valid(result))) if result.is_error => (result, words(status)),
        (Some(ExitMeaning::Error) | None, _) => {
            let result = failure(tool, &reason(status), &printed, stderr);
            (result, words(status))
        }
    };
    let how = if result.is_error { how } else { "ok".into() };
    Outcome::Result { result, how }
}

/// What was printed to be made something of; half of it would pass for all.
fn raw(output: Vec<u8>, note: Option<&str>) -> Outcome {
    match note {
        None => Outcome::Bytes(output),
        Some(note) => failed(note, "left processes behind"),
    }
}

/// A result of a tool that ended well, and what the log calls it if it is an error.
fn settled(result: Result<CallToolResult, Failed>) -> (CallToolResult, Cow<'static, str>) {
    match result {
        Ok(result) => (result, "error result".into()),
        Err(Failed { text, how }) => (CallToolResult::error(text), how.into()),
    }
}

/// How a process ended, for the log.
fn words(status: ExitStatus) -> Cow<'static, str> {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}").into(),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()).into(),
    }
}

/// A result of the tool's own that cannot be sent.
fn invalid(line: u64, reason: &str) -> CallToolResult {
    let text =
        format!("the tool gave a result that is not valid, on line {line} of its output: {reason}");
    CallToolResult::error(text)
}

/// A failure: what the model is told, and what the log is.
pub(super) fn failed(text: impl Into<String>, how: &'static str) -> Outcome {
    Outcome::Result {
        result: CallToolResult::error(text),
        how: how.into(),
    }
}

/// The outcome of a call whose output is of no use.
pub(super) fn not_usable(failed: Failed) -> Outcome {
    Outcome::Result {
        result: CallToolResult::error(failed.text),
        how: failed.how.into(),
    }
}

/// The outcome of a response whose body is what the definition says.
pub(super) fn of_body(tool: &Tool, printed: Printed) -> Outcome {
    match output::result(tool, printed, None) {
        Ok(result) => Outcome::Result {
            result,
            how: "ok".into(),
        },
        Err(failed) => not_usable(failed),
    }
}

/// A good result, with the end of standard error behind it if the definition wants that.
fn with_stderr(tool: &Tool, mut result: CallToolResult, stderr: &[u8]) -> CallToolResult {
    let stderr = end_of(stderr, tool.secrets());
    if tool.output.stderr == Stderr::Always && !stderr.is_empty() {
        let piece = Content::text(format!("[standard error]\n{stderr}"));
        result.content.push(piece);
    }
    result
}

/// Why a tool failed.
fn reason(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the tool failed with exit status {code}"),
        (None, Some(SIGXCPU)) => "the tool used more processor time than it may".to_owned(),
        (None, Some(SIGXFSZ)) => "the tool wrote a larger file than it may".to_owned(),
        (None, Some(signal)) => format!("the tool was terminated by signal {signal}"),
        (None, None) => "the tool failed".to_owned(),
    }
}

fn failure(tool: &Tool, reason: &str, printed: &Printed, stderr: &[u8]) -> CallToolResult {
    let secrets = tool.secrets();
    let stderr = end_of(stderr, secrets);
    let said = if stderr.is_empty() {
        end_of(printed.end(secrets), secrets)
    } else {
        stderr
    };
    CallToolResult::error(if said.is_empty() {
        format!("{reason} and said nothing")
    } else {
        format!("{reason}:\n{said}")
    })
}

/// The last lines of an output, at most [`MAX_ERROR_OUTPUT`] bytes.
pub(super) fn end_of(bytes: &[u8], secrets: &Redactor) -> String {
    let start = bytes.len().saturating_sub(MAX_ERROR_OUTPUT);
    let mut end = bytes.get(start..).unwrap_or_default();
    if start > 0 {
        end = secrets.cut_start(end);
    }
    let end = String::from_utf8_lossy(end);
    let end = plain(&end);
    let end = end.trim();
    if start == 0 {
        return end.to_owned();
    }
    // The first line is most likely cut.
    let whole_lines = end.split_once('\n').map_or(end, |(_, rest)| rest);
    format!("…\n{whole_lines}")
}

/// The outcome of a call that has its answer without a process.
pub(super) fn answered(content: Vec<Content>) -> Outcome {
    Outcome::Result {
        result: CallToolResult::of(content),
        how: "ok".into(),
    }
}

/// The outcome of a call whose arguments the template refuses.
pub(super) fn refused(error: &ArgumentError) -> Outcome {
    failed(error.to_string(), INVALID_ARGUMENTS)
}

/// The outcome of a call at its deadline, before it was its turn.
pub(super) fn waited_too_long(deadline: Duration) -> Outcome {
    let limit = humanly(deadline);
    let text = format!(
        "the tool is busy, and this call waited for its whole time limit of {limit}; nothing was run; \
         try again later"
    );
    failed(text, WAITED_TOO_LONG)
}

/// The outcome of a call at its deadline.
pub(super) fn timed_out(deadline: Duration) -> Outcome {
    let limit = humanly(deadline);
    let text = format!("the tool was stopped after its time limit of {limit}");
    failed(text, TIMEOUT)
}

/// The outcome of a call that its user did not allow.
pub(super) fn not_confirmed(text: String) -> Outcome {
    failed(text, "not confirmed")
}

/// The outcome of a call that never has enough answers.
pub(super) fn asked_too_often() -> Outcome {
    let text = format!(
        "the tool asked for more input after {MAX_ROUNDS} rounds of it, and was stopped; start again"
    );
    failed(text, "asked too often")
}

/// The outcome of a call whose program asks on and on, and reads nothing.
pub(super) fn asked_unread() -> Outcome {
    let text = "the tool asked for more and more without reading the answers, and was stopped";
    failed(text, "asked without reading")
}

/// The outcome of a call whose answers no client can carry.
pub(super) fn answered_too_much() -> Outcome {
    let text = format!(
        "the answers that the tool got are larger than {} KiB in all, and it asks for more; it was stopped",
        MAX_ANSWERS / 1024
    );
    failed(text, "answers too large")
}

/// Whole seconds as humantime writes them; a fraction as it is.
fn humanly(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The outcome of a call whose program could not be started. The cause has no path in it; the log
/// has.
pub(super) fn not_started(reason: &NotStarted) -> Outcome {
    let NotStarted { cause, code, .. } = reason;
    Outcome::Result {
        result: CallToolResult::error(format!("the tool could not be started: {cause} ({code})")),
        how: format!("could not be started: {code}").into(),
    }
}

/// The outcome of a call whose program was not started, since it could not be confined or cannot be run
/// then.
pub(super) fn not_confined(tool: &Tool, program: &Path, failure: &Failure) -> Outcome {
    let tool = &tool.name;
    match failure {
        Failure::Become(errno) => {
            let reason = NotStarted::in_sandbox(*errno, program);
            tracing::warn!(tool, error = %reason.error, "a tool could not be started in its sandbox");
            not_started(&reason)
        }
        Failure::Confine(error) => {
            tracing::warn!(tool, %error, "a sandbox could not be made");
            let text = "the tool could not be started: its sandbox could not be made; the log of the \
                        server says why";
            failed(text, "could not be started")
        }
    }
}

/// The outcome of a call whose output could not be read.
pub(super) fn unreadable(error: &io::Error) -> Outcome {
    tracing::error!(%error, "the output of a tool could not be read");
    failed(
        "the output of the tool could not be read",
        "unreadable output",
    )
}

/// A few words for the log.
pub(super) fn label(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Result { how, .. } => how,
        Outcome::InputRequired(_) => "input required",
        Outcome::MissingCapabilities(_) => "missing client capability",
        Outcome::Error(_) => "protocol error",
        Outcome::Refused(refusal) => refusal.limit.label(),
        Outcome::Messages(_) | Outcome::Bytes(_) => "ok",
        Outcome::Stopped(stopped) => stopped.label(),
        Outcome::Lost => "lost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_repeat_the_end_of_the_output() {
        let none = &Redactor::default();
        assert_eq!(end_of(b"  \n", none), "");
        assert_eq!(end_of(b"one\ntwo\n", none), "one\ntwo");
        let long = "line\n".repeat(2000);
        let end = end_of(long.as_bytes(), none);
        assert!(
            end.starts_with("…\nline\n") && end.len() <= MAX_ERROR_OUTPUT + 8,
            "{end}"
        );
    }

    #[test]
    fn no_error_shows_the_last_part_of_a_secret() {
        let secret = "correct horse\nbattery\nstaple";
        let secrets = Redactor::new([secret]).unwrap();
        for cut in 1..secret.len() {
            let rest = "x".repeat(MAX_ERROR_OUTPUT - secret.len() + cut);
            let output = format!("before {secret}{rest}");
            assert_eq!(end_of(output.as_bytes(), &secrets), format!("…\n{rest}"));
        }
    }
}
