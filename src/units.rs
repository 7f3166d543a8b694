//! Durations and sizes as people write them, on the command line and in definitions.

use std::time::Duration;

/// The shortest duration: the resolution of the clocks that it is compared with.
pub const MIN_DURATION: Duration = Duration::from_millis(1);

/// The longest duration: a leap year.
pub const MAX_DURATION: Duration = Duration::from_hours(366 * 24);

/// Reads a duration: humantime (`30m`, `1h 30m`, `250ms`) or bare seconds (`1800`).
///
/// # Errors
///
/// A text that says what is wrong and shows a right value, for zero, negative and unreadable
/// durations, and for those below [`MIN_DURATION`] or above [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let duration = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| format!("\"{text}\" is not a duration, try 30s, 5m or 1h"))?,
    };
    if duration.is_zero() {
        return Err("a duration must be longer than zero, try 30s, 5m or 1h".to_owned());
    }
    if !(MIN_DURATION..=MAX_DURATION).contains(&duration) {
        return Err("a duration must be from 1ms to 366days, try 30s, 5m or 1h".to_owned());
    }
    Ok(duration)
}

/// Reads a size in bytes: `4MiB`, `64KiB`, `1GiB` or bare bytes (`4194304`).
///
/// # Errors
///
/// A text that says what is wrong and shows a right value, for zero, decimal units and unreadable
/// sizes.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let unreadable = || format!("\"{text}\" is not a size, try 65536, 64KiB or 4MiB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: usize = match text.get(digits.len()..).unwrap_or_default() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(unreadable()),
    };
    let count: usize = digits.trim_end().parse().map_err(|_| unreadable())?;
    match count.checked_mul(unit) {
        Some(0) => Err("a size must be larger than zero, try 64KiB or 4MiB".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err(unreadable()),
    }
}

/// Reads a size in bytes, or `0`, which turns off what the size is for.
///
/// # Errors
///
/// As [`parse_size`].
pub fn parse_size_or_zero(text: &str) -> Result<usize, String> {
    match text.trim() {
        "0" => Ok(0),
        text => parse_size(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("30m", Some(1_800_000)),
            ("1800", Some(1_800_000)),
            ("1h 30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("1ms", Some(1)),
            ("500us", None),
            ("366days", Some(366 * 86_400_000)),
            ("367days", None),
            ("18446744073709551615", None),
            (" 5s ", Some(5000)),
            ("0", None),
            ("0s", None),
            ("-5s", None),
            ("-5", None),
            ("1.5", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("5 parsecs", None),
            ("20sec", Some(20_000)),
        ];
        for (text, millis) in cases {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(parse_duration(text).ok(), expected, "{text}");
        }
        assert_eq!(
            parse_duration("soon").unwrap_err(),
            "\"soon\" is not a duration, try 30s, 5m or 1h"
        );
    }

    #[test]
    fn sizes() {
        let cases = [
            ("65536", Some(65_536)),
            ("1B", Some(1)),
            ("64KiB", Some(65_536)),
            ("4 MiB", Some(4_194_304)),
            ("1GiB", Some(1_073_741_824)),
            ("0", None),
            ("0KiB", None),
            ("-1", None),
            ("4MB", None),
            ("4mib", None),
            ("", None),
            ("MiB", None),
            ("1.5MiB", None),
            ("99999999999999999999", None),
            ("99999999999GiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }
}
