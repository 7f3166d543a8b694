//! `concurrency` and `rate`: how many calls of a tool run at once, and how often it is called.

use std::fmt;
use std::time::Duration;

use super::template::{Word, segments};
use crate::document::diagnostic::{Code, Problem, Report};
use crate::document::reader;
use crate::document::yaml::Entry;

/// The most calls of a tool at once when its definition says nothing.
pub const DEFAULT_MAX: usize = 64;
/// The most calls of a tool that wait when its definition says nothing.
pub const DEFAULT_QUEUE: usize = 64;
/// The largest number that a definition may give, for either.
const MOST: u64 = 100_000;
/// The highest rate, in calls for one of its units.
const MAX_RATE: u64 = 1_000_000;

const KEYS: &[&str] = &["max", "queue", "key"];

/// How many calls of a tool run and wait.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// The most that run at once, for each key.
    pub max: usize,
    /// The most that wait, for all keys together.
    pub queue: usize,
    /// What tells calls apart.
    pub(crate) key: Option<Word>,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            max: DEFAULT_MAX,
            queue: DEFAULT_QUEUE,
            key: None,
        }
    }
}

/// How often a tool may be called: so many times at once, and then evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many calls.
    pub count: u32,
    /// In so much time.
    pub per: Duration,
}

impl Rate {
    /// The time between two calls at an even pace.
    pub fn interval(self) -> Duration {
        self.per / self.count.max(1)
    }

    /// Reads the `rate` of a tool.
    pub(crate) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let Some(scalar) = entry.value.scalar().filter(|scalar| !scalar.is_null()) else {
            reader::wrong_value(entry, "a rate such as `30/min`", report);
            return None;
        };
        match parse_rate(&scalar.text) {
            Ok(rate) => Some(rate),
            Err(help) => {
                let message = format!("`{}` is not a rate", scalar.text);
                report.add(Problem::error(Code::Grammar, entry.place(), message).help(help));
                None
            }
        }
    }
}

/// Writes it as a definition has it.
impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "min",
            _ => "h",
        };
        write!(formatter, "{}/{unit}", self.count)
    }
}

/// Parses a number of calls and a unit; the error says what to write.
fn parse_rate(text: &str) -> Result<Rate, String> {
    let advice = || "write a number of calls for `s`, `min` or `h`, such as `30/min`".to_owned();
    let (count, unit) = text.split_once('/').ok_or_else(advice)?;
    let number: u64 = count.trim().parse().map_err(|_| advice())?;
    let (name, seconds) = match unit.trim() {
        "s" | "sec" | "second" => ("s", 1),
        "min" | "m" | "minute" => ("min", 60),
        "h" | "hr" | "hour" => ("h", 3600),
        _ => return Err(advice()),
    };
    let corrected = format!("{number}/{name}");
    if corrected != text {
        return Err(format!("write `{corrected}`"));
    }
    match u32::try_from(number) {
        Ok(0) => Err("the lowest is 1; a tool that nobody may call is better removed".to_owned()),
        Ok(count) if number <= MAX_RATE => Ok(Rate {
            count,
            per: Duration::from_secs(seconds),
        }),
        _ => Err(format!("the highest is `{MAX_RATE}/{name}`")),
    }
}

impl Concurrency {
    /// Reads the `concurrency` of a tool: a number, or a mapping.
    pub(crate) fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let mut concurrency = Self::default();
        let Some(entries) = entry.value.mapping() else {
            concurrency.max = number(entry, 1, report)?;
            return Some(concurrency);
        };
        let errors = report.errors();
        for entry in entries {
            match entry.key.text.as_str() {
                "max" => concurrency.max = number(entry, 1, report).unwrap_or(DEFAULT_MAX),
                "queue" => concurrency.queue = number(entry, 0, report).unwrap_or(DEFAULT_QUEUE),
                "key" => concurrency.key = key(entry, report),
                _ => reader::unknown_key(entry, "`concurrency`", KEYS, report),
            }
        }
        (report.errors() == errors).then_some(concurrency)
    }
}

fn number(entry: &Entry, least: u64, report: &mut Report) -> Option<usize> {
    let number = reader::number(entry, least..=MOST, report)?;
    usize::try_from(number).ok()
}

fn key(entry: &Entry, report: &mut Report) -> Option<Word> {
    let text = reader::text(entry, report)?;
    let word = segments(entry.value.scalar()?, report);
    if word.slots().next().is_none() {
        let message = format!("`{text}` is the same for all calls");
        let help = "write the parameter that tells calls apart, such as `{db}`, or remove `key`";
        report.add(Problem::error(Code::Value, entry.place(), message).help(help));
    }
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let rate = |count, seconds| {
            Ok(Rate {
                count,
                per: Duration::from_secs(seconds),
            })
        };
        let advice = "write a number of calls for `s`, `min` or `h`, such as `30/min`";
        let cases = [
            ("5/s", rate(5, 1)),
            ("30/min", rate(30, 60)),
            ("1000000/h", rate(1_000_000, 3600)),
            ("30/m", Err("write `30/min`")),
            ("30 / min", Err("write `30/min`")),
            ("1/second", Err("write `1/s`")),
            ("007/s", Err("write `7/s`")),
            ("30", Err(advice)),
            ("30/day", Err(advice)),
            ("a few/min", Err(advice)),
            ("-1/min", Err(advice)),
            ("1.5/s", Err(advice)),
            (
                "0/s",
                Err("the lowest is 1; a tool that nobody may call is better removed"),
            ),
            ("1000001/s", Err("the highest is `1000000/s`")),
            ("99999999999/s", Err("the highest is `1000000/s`")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_rate(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
