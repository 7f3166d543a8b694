//! Typed reading of single values: a text, a boolean, a duration, one of a few words.
//!
//! Each function reports what is wrong and returns `None`, so that the caller reads on.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostic::{Code, Problem, Report, Span};
use super::suggest::did_you_mean;
use super::yaml::{Content, Entry, Node};

/// The longest duration that is accepted: a leap year, far beyond any useful deadline.
const MAX_DURATION: Duration = Duration::from_hours(366 * 24);
/// The largest size that is accepted, in bytes: one GiB, all of it memory.
const MAX_SIZE: u64 = 1 << 30;
/// The largest size of what the server itself does not hold, in bytes: 16 TiB.
const MAX_SPACE: u64 = 16 << 40;

/// Reports a key that does not exist here.
pub(crate) fn unknown_key(entry: &Entry, place: &str, known: &[&str], report: &mut Report) {
    let name = &entry.key.text;
    let message = format!("unknown key `{name}` in {place}");
    let help = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| match known {
        [only] => format!("the only key here is `{only}`"),
        _ => format!("the keys here are {}", listed(known)),
    });
    report.add(Problem::error(Code::UnknownKey, entry.key.span, message).help(help));
}

/// Reports what stands at two places and may stand at one.
pub(crate) fn twice(subject: &str, first: Span, again: Span, report: &mut Report) {
    let sources = report.sources();
    let (one, other) = (sources.place(first), sources.place(again));
    let message = format!("{subject} is defined twice: {one} and {other}");
    let problem = Problem::error(Code::Duplicate, again, message)
        .also(first, "first defined here")
        .help("keep one of them");
    report.add(problem);
}

/// Reports a value of the wrong type or content.
pub(crate) fn wrong_value(entry: &Entry, expected: &str, report: &mut Report) {
    let name = &entry.key.text;
    let message = match entry.value.scalar() {
        Some(scalar) if scalar.is_null() => {
            format!("`{name}` has no value, and must be {expected}")
        }
        _ => format!("`{name}` must be {expected}, not {}", entry.value.kind()),
    };
    report.add(Problem::error(Code::Value, entry.place(), message));
}

/// Reads a text; numbers and booleans are taken as they were written.
pub(crate) fn text(entry: &Entry, report: &mut Report) -> Option<String> {
    match entry.value.scalar() {
        Some(scalar) if scalar.text.contains('\0') => {
            let message = format!("`{}` cannot hold NUL", entry.key.text);
            report.add(Problem::error(Code::Value, entry.place(), message));
            None
        }
        Some(scalar) if !scalar.is_null() => Some(scalar.text.clone()),
        _ => {
            wrong_value(entry, "a text", report);
            None
        }
    }
}

/// Reads `true` or `false`.
pub(crate) fn boolean(entry: &Entry, report: &mut Report) -> Option<bool> {
    let boolean = entry.value.scalar().and_then(super::yaml::Scalar::boolean);
    if boolean.is_none() {
        wrong_value(entry, "`true` or `false`", report);
    }
    boolean
}

/// Reads a mapping.
pub(crate) fn mapping<'a>(entry: &'a Entry, report: &mut Report) -> Option<&'a [Entry]> {
    let mapping = entry.value.mapping();
    if mapping.is_none() {
        wrong_value(entry, "a mapping", report);
    }
    mapping
}

/// Reads a list.
pub(crate) fn list<'a>(entry: &'a Entry, report: &mut Report) -> Option<&'a [Node]> {
    if let Content::Sequence(items) = &entry.value.content {
        return Some(items);
    }
    wrong_value(entry, "a list", report);
    None
}

/// Reads one of a few words.
pub(crate) fn choice<T: Copy>(
    entry: &Entry,
    choices: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let Some(scalar) = entry.value.scalar().filter(|scalar| !scalar.is_null()) else {
        wrong_value(entry, &alternatives(&words), report);
        return None;
    };
    let found = choices.iter().find(|(word, _)| *word == scalar.text);
    if found.is_none() {
        let (name, value) = (&entry.key.text, &scalar.text);
        let message = format!("`{name}` must be {}, not `{value}`", alternatives(&words));
        let problem = Problem::error(Code::Value, entry.place(), message)
            .maybe_help(did_you_mean(value, words));
        report.add(problem);
    }
    found.map(|(_, value)| *value)
}

/// Reads an item of a list that is one of a few words.
pub(crate) fn item<T: Copy>(node: &Node, choices: &[(&str, T)], report: &mut Report) -> Option<T> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let text = node.scalar().map(|scalar| scalar.text.as_str());
    let found = choices.iter().find(|(word, _)| Some(*word) == text);
    if found.is_none() {
        let given = text.map_or(node.kind().to_owned(), |text| format!("`{text}`"));
        let message = format!("an item must be {}, not {given}", alternatives(&words));
        let problem = Problem::error(Code::Value, node.span, message);
        report.add(problem.maybe_help(did_you_mean(text.unwrap_or_default(), words)));
    }
    found.map(|(_, value)| *value)
}

/// Reads a duration such as `30s` or `1h30m`.
pub(crate) fn duration(entry: &Entry, report: &mut Report) -> Option<Duration> {
    measure(entry, "a duration", "30s", parse_duration, report)
}

/// Reads a size in bytes such as `256KiB`.
pub(crate) fn size(entry: &Entry, report: &mut Report) -> Option<usize> {
    let parse = |text: &str| parse_size(text, MAX_SIZE);
    let size = measure(entry, "a size", "256KiB", parse, report)?;
    usize::try_from(size).ok()
}

/// Reads a size in bytes of what is not the server's to hold.
pub(crate) fn space(entry: &Entry, report: &mut Report) -> Option<u64> {
    let parse = |text: &str| parse_size(text, MAX_SPACE);
    measure(entry, "a size", "256MiB", parse, report)
}

/// Reads a whole number.
pub(crate) fn number(
    entry: &Entry,
    allowed: RangeInclusive<u64>,
    report: &mut Report,
) -> Option<u64> {
    let scalar = entry.value.scalar().filter(|scalar| !scalar.is_null());
    let number = scalar.and_then(|scalar| scalar.text.parse::<u64>().ok());
    let number = number.filter(|number| allowed.contains(number));
    if number.is_none() {
        let expected = format!(
            "a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        );
        match scalar {
            None => wrong_value(entry, &expected, report),
            Some(scalar) => {
                let (name, text) = (&entry.key.text, &scalar.text);
                let message = format!("`{name}` must be {expected}, not `{text}`");
                report.add(Problem::error(Code::Value, entry.place(), message));
            }
        }
    }
    number
}

fn measure<T>(
    entry: &Entry,
    noun: &str,
    example: &str,
    parse: fn(&str) -> Result<T, String>,
    report: &mut Report,
) -> Option<T> {
    let Some(scalar) = entry.value.scalar().filter(|scalar| !scalar.is_null()) else {
        wrong_value(entry, &format!("{noun} such as `{example}`"), report);
        return None;
    };
    match parse(&scalar.text) {
        Ok(value) => Some(value),
        Err(help) => {
            let message = format!("`{}` is not {noun}", scalar.text);
            report.add(Problem::error(Code::Grammar, entry.place(), message).help(help));
            None
        }
    }
}

/// Parses numbers with the units ms, s, m, h, d; the error says what to write.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    let mut corrected = String::new();
    let mut wrong = text.is_empty();
    let mut rest = text;
    while !rest.is_empty() {
        let before = rest.len();
        let (digits, after) = split_digits(rest);
        let (unit, next) = split_letters(after.trim_start());
        let number: u64 = digits
            .parse()
            .map_err(|_| "write a whole number and a unit, such as `30s`".to_owned())?;
        let Some((unit_name, milliseconds)) = duration_unit(unit) else {
            return Err("the units are ms, s, m, h and d, as in `30s`".to_owned());
        };
        corrected.push_str(&number.to_string());
        corrected.push_str(unit_name);
        let milliseconds = number.saturating_mul(milliseconds);
        total = total.saturating_add(Duration::from_millis(milliseconds));
        rest = next.trim_start();
        // Whatever the short form leaves out was too much: a long unit, or white space.
        wrong |= rest.len() + digits.len() + unit_name.len() != before;
    }
    if wrong {
        return Err(format!("write `{corrected}`"));
    }
    if total > MAX_DURATION {
        return Err("the longest is `366d`".to_owned());
    }
    Ok(total)
}

/// The short name of a unit and its milliseconds; long names are known for the advice.
fn duration_unit(unit: &str) -> Option<(&'static str, u64)> {
    match unit {
        "ms" | "msec" | "msecs" | "millis" | "milliseconds" => Some(("ms", 1)),
        "s" | "sec" | "secs" | "second" | "seconds" | "" => Some(("s", 1000)),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(("m", 60_000)),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(("h", 3_600_000)),
        "d" | "day" | "days" => Some(("d", 86_400_000)),
        _ => None,
    }
}

/// Parses plain bytes, KiB, MiB or GiB; the error says what to write.
fn parse_size(text: &str, largest: u64) -> Result<u64, String> {
    let (digits, after) = split_digits(text);
    let advice =
        || "write bytes, or a whole number with KiB, MiB or GiB, such as `256KiB`".to_owned();
    let number: u64 = digits.parse().map_err(|_| advice())?;
    let unit = after.trim_start();
    let (name, factor) = match unit.to_ascii_lowercase().as_str() {
        "" => ("", 1),
        "k" | "kb" | "kib" => ("KiB", 1024),
        "m" | "mb" | "mib" => ("MiB", 1024 * 1024),
        "g" | "gb" | "gib" => ("GiB", 1024 * 1024 * 1024),
        _ => return Err(advice()),
    };
    if after != name {
        return Err(format!("write `{number}{name}`"));
    }
    match number.checked_mul(factor) {
        Some(0) => Err("the smallest is 1".to_owned()),
        Some(size) if size <= largest => Ok(size),
        _ => Err(format!("the largest is `{}GiB`", largest >> 30)),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn split_letters(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Writes "`a`, `b` and `c`".
pub(crate) fn listed(words: &[&str]) -> String {
    joined(words, "and")
}

/// Writes "`a`, `b` or `c`".
pub(crate) fn alternatives(words: &[&str]) -> String {
    joined(words, "or")
}

fn joined(words: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} {conjunction} {last}", first.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MAX_SIZE, parse_duration, parse_size};

    #[test]
    fn durations() {
        let cases = [
            ("milliseconds", "250ms", Ok(Duration::from_millis(250))),
            ("seconds", "30s", Ok(Duration::from_secs(30))),
            ("days", "1d", Ok(Duration::from_hours(24))),
            ("several units", "1h30m", Ok(Duration::from_mins(90))),
            ("long unit", "20sec", Err("write `20s`")),
            ("space", "20 s", Err("write `20s`")),
            ("no unit", "20", Err("write `20s`")),
            (
                "fraction",
                "1.5s",
                Err("write a whole number and a unit, such as `30s`"),
            ),
            (
                "negative",
                "-1s",
                Err("write a whole number and a unit, such as `30s`"),
            ),
            (
                "other unit",
                "5 parsecs",
                Err("the units are ms, s, m, h and d, as in `30s`"),
            ),
            (
                "overflow",
                "99999999999999999d",
                Err("the longest is `366d`"),
            ),
        ];
        for (name, text, expected) in cases {
            assert_eq!(
                parse_duration(text),
                expected.map_err(str::to_owned),
                "{name}"
            );
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("bytes", "1000", Ok(1000)),
            ("KiB", "64KiB", Ok(65_536)),
            ("MiB", "2MiB", Ok(2_097_152)),
            ("decimal unit", "2MB", Err("write `2MiB`")),
            ("space", "2 MiB", Err("write `2MiB`")),
            ("zero", "0", Err("the smallest is 1")),
            ("too large", "2GiB", Err("the largest is `1GiB`")),
        ];
        for (name, text, expected) in cases {
            assert_eq!(
                parse_size(text, MAX_SIZE),
                expected.map_err(str::to_owned),
                "{name}"
            );
        }
    }
}
