//! jq filters: checked when definitions are loaded, and run in a process of their own.
//!
//! A filter can loop for ever, recurse until the stack is gone, or ask for more memory than there
//! is. No thread can be stopped and no allocation that failed can be caught, so a filter runs in a
//! child, which is this program under another name, with limits that the kernel holds.
//!
//! A filter reaches nothing but its input: there is no environment, clock, file or module for it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::thread;

use jaq_core::data::JustLut;
use jaq_core::load::parse::Def;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, compile, unwrap_valr};
use jaq_json::{Val, read};
use rustix::process::{Resource, Rlimit};

/// The name of the program that runs filters: the first word of its command line says what it is.
pub(crate) const PROGRAM: &str = "mcp-serve-select";
/// The longest filter, in bytes. It bounds how deep the parser can recurse.
pub(crate) const MAX_FILTER: usize = 8 << 10;
/// The memory that a filter may use, in bytes of address space, all of the process included.
pub(crate) const MAX_MEMORY: u64 = 512 << 20;
/// The processor time that a filter may use, in seconds: the last resort, should nobody stop it.
const MAX_SECONDS: u64 = 60;
/// The stack of a filter, in bytes. Only what is used of it is memory.
const STACK: usize = 128 << 20;

/// What would reach outside, or ends the process. Filters go without.
const NOT_SERVED: &[&str] = &[
    "debug",
    "debug_empty",
    "env",
    "halt",
    "halt_error",
    "localtime",
    "now",
    "stderr",
    "stderr_empty",
    "strflocaltime",
];
/// What jq has beyond that, and filters here go without.
const NOT_HERE: &[&str] = &[
    "$ENV",
    "$__prog_args",
    "get_search_list",
    "getpath_env",
    "input",
    "input_filename",
    "input_line_number",
    "inputs",
];

/// What is wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where, in bytes of the filter; its last character, where more belongs.
    pub(crate) at: Range<usize>,
    /// What.
    pub(crate) message: String,
}

type Data = JustLut<Val>;

/// Checks a filter.
///
/// # Errors
///
/// All that is wrong with it.
pub(crate) fn check(filter: &str) -> Result<(), Vec<Mistake>> {
    let whole = |message: String| {
        vec![Mistake {
            at: 0..filter.len(),
            message,
        }]
    };
    if filter.len() > MAX_FILTER {
        return Err(whole(format!(
            "the filter has more than {MAX_FILTER} bytes"
        )));
    }
    let checked = with_stack(|| compiled(filter).map(drop));
    checked.unwrap_or_else(|error| Err(whole(format!("the filter cannot be checked: {error}"))))
}

/// Runs a filter and returns the exit code, if these are the arguments of the program that runs
/// filters. The input is the JSON text on standard input, and each output a line of JSON on standard
/// output; what went wrong is on standard error.
pub(crate) fn serve(arguments: &[OsString]) -> Option<u8> {
    let (program, filter) = match arguments {
        [program, filter] => (program, filter.to_str()?),
        _ => return None,
    };
    if program != PROGRAM {
        return None;
    }
    let answered = limit().and_then(|()| with_stack(|| answer(filter)));
    let answered = answered.unwrap_or_else(|error| Err(error.to_string()));
    Some(match answered {
        Ok(()) => 0,
        Err(reason) => {
            // Whoever asked may be gone.
            drop(io::stderr().write_all(reason.as_bytes()));
            1
        }
    })
}

/// Sets the limits of this process, for good.
fn limit() -> io::Result<()> {
    let limits = [(Resource::As, MAX_MEMORY), (Resource::Cpu, MAX_SECONDS)];
    for (resource, most) in limits {
        // Whoever started the server may have said less already, which nobody can raise again.
        let allowed = rustix::process::getrlimit(resource).maximum;
        let most = Some(allowed.map_or(most, |allowed| most.min(allowed)));
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        rustix::process::setrlimit(resource, limit)?;
    }
    Ok(())
}

/// Does something that recurses, and gives its result back.
fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK);
        let worker = builder.spawn_scoped(scope, work)?;
        worker.join().map_err(|_| io::Error::other("it failed"))
    })
}

/// Runs a filter on standard input.
fn answer(filter: &str) -> Result<(), String> {
    let filter = compiled(filter).map_err(|_| "it cannot be read".to_owned())?;
    let mut input = Vec::new();
    let read = io::stdin().read_to_end(&mut input);
    read.map_err(|error| error.to_string())?;
    let mut output = io::BufWriter::new(io::stdout().lock());
    run(&filter, &input, |value| {
        let mut line = String::new();
        write_json(value, &mut line)?;
        line.push('\n');
        output
            .write_all(line.as_bytes())
            .map_err(|error| error.to_string())
    })?;
    output.flush().map_err(|error| error.to_string())
}

/// Gives each output of a filter to `take`.
fn run(
    filter: &Filter<Data>,
    input: &[u8],
    mut take: impl FnMut(&Val) -> Result<(), String>,
) -> Result<(), String> {
    let input = read::parse_single(input).map_err(|error| error.to_string())?;
    let context = Ctx::<Data>::new(&filter.lut, Vars::new([]));
    for output in filter.id.run((context, input)).map(unwrap_valr) {
        take(&output.map_err(reason)?)?;
    }
    Ok(())
}

/// What an error says: a text as it is, and any other value as JSON.
fn reason(error: jaq_core::Error<Val>) -> String {
    match error.into_val() {
        Val::TStr(text) => String::from_utf8_lossy(&text).into_owned(),
        value => value.to_string(),
    }
}

/// Writes a value as JSON on one line. As in jq, what is no number is null.
fn write_json(value: &Val, text: &mut String) -> Result<(), String> {
    match value {
        Val::Null => text.push_str("null"),
        Val::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Val::Num(number) => {
            let number = number.to_string();
            let is_finite = number.ends_with(|last: char| last.is_ascii_digit());
            text.push_str(if is_finite { &number } else { "null" });
        }
        Val::TStr(bytes) => write_text(bytes, text)?,
        Val::BStr(_) => return Err("it gives bytes, which JSON has not".to_owned()),
        Val::Arr(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                write_json(item, text)?;
            }
            text.push(']');
        }
        Val::Obj(members) => {
            text.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                let Val::TStr(key) = key else {
                    return Err(format!(
                        "it gives an object with the key {key}, which is no text"
                    ));
                };
                text.push_str(if at == 0 { "" } else { "," });
                write_text(key, text)?;
                text.push(':');
                write_json(value, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

fn write_text(bytes: &[u8], text: &mut String) -> Result<(), String> {
    let value = serde_json::Value::from(String::from_utf8_lossy(bytes));
    write!(text, "{value}").map_err(|error| error.to_string())
}

fn compiled(filter: &str) -> Result<Filter<Data>, Vec<Mistake>> {
    let arena = Arena::default();
    let file = File {
        code: filter,
        path: (),
    };
    // Without a reader of its own a loader finds no module.
    let modules = Loader::new(definitions()).load(&arena, file);
    let modules = modules.map_err(|errors| unreadable(filter, &errors))?;
    load::import(&modules, |_| Err(String::new())).map_err(|errors| unreadable(filter, &errors))?;
    let functions = (jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs()))
    .filter(|(name, ..)| !NOT_SERVED.contains(name));
    let compiled = Compiler::default().with_funs(functions).compile(modules);
    compiled.map_err(|errors| undefined(filter, &errors))
}

fn definitions() -> impl Iterator<Item = Def<&'static str>> {
    let all = (jaq_core::defs().chain(jaq_std::defs())).chain(jaq_json::defs());
    all.filter(|definition| !NOT_SERVED.contains(&definition.name))
}

fn unreadable(filter: &str, errors: &load::Errors<&str, ()>) -> Vec<Mistake> {
    let all = errors.iter().flat_map(|(_, error)| match error {
        load::Error::Io(modules) => (modules.iter())
            .map(|(part, _)| mistake(filter, part, "a filter has no modules".to_owned()))
            .collect(),
        load::Error::Lex(errors) => (errors.iter())
            .map(|(expected, found)| expected_here(filter, expected.as_str(), found))
            .collect(),
        load::Error::Parse(errors) => (errors.iter())
            .map(|(expected, found)| expected_here(filter, expected.as_str(), found))
            .collect::<Vec<_>>(),
    });
    all.collect()
}

fn undefined(filter: &str, errors: &compile::Errors<&str, ()>) -> Vec<Mistake> {
    let all = errors.iter().flat_map(|(_, errors)| errors);
    let mistakes = all.map(|(name, kind)| {
        let message = if NOT_SERVED.contains(name) || NOT_HERE.contains(name) {
            format!("`{name}` is not there: a filter reaches nothing but its input")
        } else {
            match kind {
                compile::Undefined::Filter(arity) => {
                    format!("there is no filter `{name}/{arity}`")
                }
                _ => format!("there is no {} `{name}`", kind.as_str()),
            }
        };
        mistake(filter, name, message)
    });
    mistakes.collect()
}

fn expected_here(filter: &str, expected: &str, found: &str) -> Mistake {
    if found.is_empty() {
        let end = filter.trim_end();
        let last = end.char_indices().next_back().map_or(0, |(at, _)| at);
        return Mistake {
            at: last..end.len(),
            message: format!("it ends too early; expected here: {expected}"),
        };
    }
    // What could not be read goes on to the end, and its beginning is the point.
    let end = (found.char_indices().nth(1)).map_or(found.len(), |(at, _)| at);
    let part = found.get(..end).unwrap_or(found);
    mistake(filter, part, format!("expected here: {expected}"))
}

/// A mistake at a part of the filter.
fn mistake(filter: &str, part: &str, message: String) -> Mistake {
    let start = (part.as_ptr() as usize).checked_sub(filter.as_ptr() as usize);
    let at = start.map(|start| start..start + part.len());
    Mistake {
        at: at
            .filter(|at| filter.get(at.clone()) == Some(part))
            .unwrap_or(0..filter.len()),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a filter gives, on one line each.
    fn select(filter: &str, input: &str) -> Result<Vec<String>, String> {
        let filter = compiled(filter).map_err(|mistakes| format!("{mistakes:?}"))?;
        let mut outputs = Vec::new();
        run(&filter, input.as_bytes(), |value| {
            let mut line = String::new();
            write_json(value, &mut line)?;
            outputs.push(line);
            Ok(())
        })?;
        Ok(outputs)
    }

    #[test]
    fn filters_give_json() {
        let cases: [(&str, &str, &[&str]); 16] = [
            (
                ".",
                r#"{"b":1,"a":[null,true,"x"]}"#,
                &[r#"{"b":1,"a":[null,true,"x"]}"#],
            ),
            (".[]", "[1,2]", &["1", "2"]),
            ("empty", "1", &[]),
            (
                "[.items[] | {name: .metadata.name, phase: .status.phase}]",
                r#"{"items":[{"metadata":{"name":"a"},"status":{"phase":"b"}}]}"#,
                &[r#"[{"name":"a","phase":"b"}]"#],
            ),
            (".", "18446744073709551615", &["18446744073709551615"]),
            (".", "3.141592653589793238", &["3.141592653589793238"]),
            (".", "1e999", &["1e999"]),
            (
                "[nan, infinite, -infinite, 1/0]",
                "0",
                &["[null,null,null,null]"],
            ),
            (
                ".",
                r#""a\nb\u2028\u0000\ud83d\ude00""#,
                &["\"a\\nb\u{2028}\\u0000😀\""],
            ),
            ("map(select(test(\"^a\")))", r#"["ab","b"]"#, &[r#"["ab"]"#]),
            (
                "group_by(.k) | map({k: .[0].k, n: length})",
                r#"[{"k":1},{"k":2},{"k":1}]"#,
                &[r#"[{"k":1,"n":2},{"k":2,"n":1}]"#],
            ),
            (
                "to_entries | map(.key)",
                r#"{"b":1,"a":2}"#,
                &[r#"["b","a"]"#],
            ),
            ("@base64, @uri", r#""a b""#, &[r#""YSBi""#, r#""a%20b""#]),
            (
                "fromdate | todate",
                r#""2026-01-31T00:00:00Z""#,
                &[r#""2026-01-31T00:00:00Z""#],
            ),
            (". as $x | try error($x) catch .", "1", &["1"]),
            ("# a comment\n.a // 2 | tojson", "{}", &[r#""2""#]),
        ];
        for (filter, input, expected) in cases {
            let expected = expected.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(select(filter, input), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        let cases = [
            (".a", "1", "cannot index 1 with \"a\""),
            ("error(\"so\")", "1", "so"),
            ("tobytes", "\"a\"", "it gives bytes, which JSON has not"),
            (
                "{(1 | tojson | tonumber): 2}",
                "1",
                "it gives an object with the key 1, which is no text",
            ),
            ("1 + \"a\"", "1", "cannot calculate 1 + \"a\""),
        ];
        for (filter, input, expected) in cases {
            assert_eq!(select(filter, input), Err(expected.to_owned()), "{filter}");
        }
    }

    #[test]
    fn a_filter_reaches_nothing_outside() {
        let names = [
            "env",
            "$ENV",
            "$ENV.PATH",
            "now",
            "input",
            "inputs",
            "input_line_number",
            "input_filename",
            "debug",
            "debug(1)",
            "stderr",
            "halt",
            "halt_error",
            "halt_error(1)",
            "halt(1)",
            "localtime",
            "strflocaltime(\"%H\")",
            "get_search_list",
        ];
        for filter in names {
            let mistakes = check(filter).unwrap_err();
            let message = &mistakes[0].message;
            assert!(
                message.ends_with("a filter reaches nothing but its input"),
                "{filter}: {message}"
            );
        }
        for filter in [
            "import \"a\" as a; .",
            "include \"a\"; .",
            "import \"/etc/passwd\" as $p; $p",
        ] {
            let mistakes = check(filter).unwrap_err();
            assert_eq!(mistakes[0].message, "a filter has no modules", "{filter}");
        }
    }

    #[test]
    fn mistakes_have_their_places() {
        let cases: [(&str, Range<usize>, &str); 9] = [
            ("", 0..0, "it ends too early; expected here: term"),
            (".a | ", 3..4, "it ends too early; expected here: term"),
            (".a | )", 5..6, "expected here: token"),
            (
                ".a | (",
                5..6,
                "it ends too early; expected here: closing parenthesis",
            ),
            (".[] | foo(1; 2)", 6..9, "there is no filter `foo/2`"),
            (". + $x", 4..6, "there is no variable `$x`"),
            ("\"a\\q\"", 3..4, "expected here: string escape sequence"),
            (
                "if . then 1",
                10..11,
                "it ends too early; expected here: else or end",
            ),
            ("break $x", 6..8, "there is no label `$x`"),
        ];
        for (filter, at, message) in cases {
            let mistakes = check(filter).unwrap_err();
            let expected = Mistake {
                at,
                message: message.to_owned(),
            };
            assert_eq!(mistakes[0], expected, "{filter}");
        }
        let two = check("foo | bar").unwrap_err();
        assert_eq!(two.len(), 2, "{two:?}");
    }

    /// The parser recurses, and so does what compiles and what forgets.
    #[test]
    fn a_filter_that_nests_as_deep_as_it_can_is_no_danger() {
        for part in [
            "(",
            "[",
            "{a:",
            "-",
            "def f: ",
            "1|",
            ".a,",
            "if ",
            "try ",
            "\"\\(",
            ".[",
            "reduce . as $x (",
            "1 as $x|",
            "..",
            "?",
            "1+",
        ] {
            let filter = part.repeat(MAX_FILTER / part.len());
            drop(check(&filter));
            drop(check(&format!("{}1", &filter[..filter.len() - part.len()])));
        }
        let whole = format!(
            "{}1{}",
            "[".repeat(MAX_FILTER / 2 - 1),
            "]".repeat(MAX_FILTER / 2 - 1)
        );
        assert_eq!(check(&whole), Ok(()));
        let long = " ".repeat(MAX_FILTER + 1);
        assert_eq!(
            check(&long).unwrap_err()[0].message,
            "the filter has more than 8192 bytes"
        );
    }
}
