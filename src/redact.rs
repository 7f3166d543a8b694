//! Keeping secrets out of what others see.
//!
//! The definitions know which texts are secret. Whatever a call says, and whatever goes into the
//! log, has each of them replaced by `***`. What nobody can recognize stays: a secret that a
//! program encrypts, cuts in half or writes into a picture.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The shortest text that is replaced, in bytes: a shorter one is in many words, and no secret.
pub const MIN_BYTES: usize = 6;
/// The shortest line of a longer secret that is replaced by itself, in bytes: programs print keys
/// line by line, and what is shorter is in many files.
const MIN_LINE: usize = 16;
/// The longest text that is found in Base64, in bytes: credentials are shorter, and each form of a
/// text takes memory.
const MAX_IN_BASE64: usize = 8 * 1024;
/// What stands in the place of a secret.
const STARS: &str = "***";

/// Replaces secrets in texts.
///
/// # Examples
///
/// ```
/// let redactor = mcp_serve::redact::Redactor::new(["correct-horse"])?;
/// assert_eq!(redactor.redact("it is correct-horse!"), "it is ***!");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Redactor {
    /// Each is looked for by itself; there is none when there is nothing to look for.
    sets: Vec<Set>,
}

/// Secrets that are looked for in one pass.
#[derive(Clone)]
struct Set {
    finder: AhoCorasick,
    /// What is looked for.
    patterns: Arc<[String]>,
}

impl Redactor {
    /// A redactor of these values. Each is also found as JSON, a URL and a form write it, in Base64 at
    /// any place of a longer text, and a long one line by line.
    ///
    /// # Errors
    ///
    /// Fails when the values are too many or too long to be looked for.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, BuildError> {
        let mut patterns = Vec::new();
        for value in values {
            let value = value.trim();
            let lines = value.lines().map(str::trim);
            let lines = lines.filter(|line| line.len() >= MIN_LINE && line.len() < value.len());
            let whole = [value].into_iter().filter(|value| value.len() >= MIN_BYTES);
            for text in whole.chain(lines) {
                let encoded = percent_encoded(text);
                patterns.push(encoded.replace("%20", "+"));
                patterns.push(encoded);
                patterns.push(escaped(text));
                patterns.push(text.to_owned());
                patterns.extend(in_base64(text));
            }
        }
        patterns.sort();
        patterns.dedup();
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostLongest);
        // To build the other kind takes quadratic time for a long value that repeats itself.
        builder.kind(Some(AhoCorasickKind::ContiguousNFA));
        let set = Set {
            finder: builder.build(&patterns)?,
            patterns: patterns.into(),
        };
        Ok(Self { sets: vec![set] })
    }

    /// A redactor of its values and of those of another.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let sets = self.sets.iter().chain(&other.sets);
        Self {
            sets: sets.cloned().collect(),
        }
    }

    /// Returns the text without its secrets; borrowed when there are none.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.sets.iter().fold(text.into(), |text, set| {
            set.redacted(&text).map_or(text, Cow::Owned)
        })
    }

    /// Takes the secrets out of a text.
    pub fn clean(&self, text: &mut String) {
        if let Cow::Owned(redacted) = self.redact(text) {
            *text = redacted;
        }
    }

    /// The first `most` bytes of a text without its secrets, as far as they are whole characters.
    pub fn cut(&self, mut text: String, most: usize) -> String {
        self.clean(&mut text);
        if text.len() > most {
            text.truncate(text.floor_char_boundary(most));
            text.push('…');
        }
        text
    }

    /// The beginning of an output that goes on, without a part of a character and without what can be the
    /// first part of a secret: the rest of it is not there any more, so that nothing else would find it.
    pub fn cut_end<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let starts = self.needles().filter_map(|secret| {
            let parts = (1..secret.len().min(bytes.len() + 1)).rev();
            let mut parts = parts.filter_map(|length| secret.get(..length));
            let part = parts.find(|part| bytes.ends_with(part))?;
            Some(bytes.len() - part.len())
        });
        let mut end = starts.min().unwrap_or(bytes.len());
        // A whole secret must not be cut instead.
        while let Some((start, _)) = self.around(bytes, end).min() {
            end = start;
        }
        let beginning = bytes.get(..end).unwrap_or_default();
        match std::str::from_utf8(beginning) {
            Err(error) if error.error_len().is_none() => {
                beginning.get(..error.valid_up_to()).unwrap_or_default()
            }
            _ => beginning,
        }
    }

    /// The end of an output whose beginning is left out, without a part of a character and without what
    /// can be the last part of a secret.
    pub fn cut_start<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let ends = self.needles().filter_map(|secret| {
            let parts = (1..secret.len().min(bytes.len() + 1)).rev();
            let mut parts = parts.filter_map(|length| secret.get(secret.len() - length..));
            Some(parts.find(|part| bytes.starts_with(part))?.len())
        });
        let mut start = ends.max().unwrap_or(0);
        while let Some((_, end)) = self.around(bytes, start).max_by_key(|(_, end)| *end) {
            start = end;
        }
        let end = bytes.get(start..).unwrap_or_default();
        let is_inside = |byte: &&u8| **byte & 0xc0 == 0x80;
        // A character has three bytes at most behind its first.
        let inside = end.iter().take(3).take_while(is_inside).count();
        end.get(inside..).unwrap_or_default()
    }

    /// Where secrets begin and end that a cut at this place would go through.
    fn around(&self, bytes: &[u8], at: usize) -> impl Iterator<Item = (usize, usize)> {
        self.needles().filter_map(move |secret| {
            let from = (at + 1).saturating_sub(secret.len());
            let until = (at + secret.len()).saturating_sub(1).min(bytes.len());
            let near = bytes.get(from..until)?;
            let found = near.windows(secret.len()).position(|part| part == secret)?;
            Some((from + found, from + found + secret.len()))
        })
    }

    fn needles(&self) -> impl Iterator<Item = &[u8]> {
        let patterns = self.sets.iter().flat_map(|set| set.patterns.iter());
        patterns.map(String::as_bytes)
    }

    /// Returns whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }
}

impl Set {
    /// A text without its secrets; `None` when there are none in it.
    fn redacted(&self, text: &str) -> Option<String> {
        if !self.finder.is_match(text) {
            return None;
        }
        let mut redacted = String::with_capacity(text.len());
        self.finder
            .replace_all_with(text, &mut redacted, |_, _, redacted| {
                redacted.push_str(STARS);
                true
            });
        Some(redacted)
    }
}

/// The text as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let inner = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'));
    inner.unwrap_or(text).to_owned()
}

/// The text as it stands in a URL: all but what never needs to be encoded (RFC 3986, section 2.3).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// What Base64 makes of a text, whatever stands before and after it: for each place that its first
/// byte can have in a group of three, the letters that hold nothing but it.
fn in_base64(text: &str) -> impl Iterator<Item = String> {
    let is_short = text.len() <= MAX_IN_BASE64;
    let places = (0..3).filter(move |_| is_short);
    let encoded = places.flat_map(move |before: usize| {
        let bytes: Vec<_> = std::iter::repeat_n(0, before).chain(text.bytes()).collect();
        // A letter has six bits: the first whole one after so many bytes, and the last whole one.
        let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        [
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes),
        ]
        .map(|letters| letters.get(own.clone()).map(str::to_owned))
    });
    encoded.flatten()
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Redactor(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced_wherever_they_stand() {
        let key = "-----BEGIN KEY-----\nabcdefghijklmnopqrst\nuvw\n-----END KEY-----\n";
        let values = [
            "hunter2",
            "hunter2-long",
            "short",
            "with \"quotes\"",
            "über-secret",
            key,
        ];
        let redactor = Redactor::new(values).unwrap();
        let cases = [
            ("nothing here", "nothing here"),
            ("hunter2", "***"),
            ("a hunter2hunter2 b", "a ****** b"),
            ("hunter2-long hunter2-lon", "*** ***-lon"),
            ("too short", "too short"),
            (r#"{"x":"with \"quotes\""}"#, r#"{"x":"***"}"#),
            ("with \"quotes\"", "***"),
            ("?q=with%20%22quotes%22&r=with+%22quotes%22", "?q=***&r=***"),
            ("über-secret", "***"),
            (key, "***\n"),
            (&key.replace('\n', "\\n"), "***\\n"),
            ("log: abcdefghijklmnopqrst\nlog: uvw", "log: ***\nlog: uvw"),
        ];
        for (text, expected) in cases {
            assert_eq!(redactor.redact(text), expected, "{text}");
        }
    }

    #[test]
    fn two_redactors_are_one() {
        let one = Redactor::new(["hunter2"]).unwrap();
        let both = one.and(&Redactor::new(["geheimnis"]).unwrap());
        assert_eq!(both.redact("hunter2 geheimnis"), "*** ***");
        assert_eq!(both.cut_end(b"say gehe"), b"say ");
        assert_eq!(both.cut_end(b"say hunt"), b"say ");
        assert!(Redactor::default().and(&Redactor::default()).is_empty());
    }

    #[test]
    fn no_part_of_a_secret_is_left_at_a_cut() {
        let secrets = [
            "hunter2",
            "hunter2-lengthened",
            "abcabcabd",
            "über-geheim",
            "r2xyzxyz",
        ];
        let redactor = Redactor::new(secrets).unwrap();
        for secret in secrets {
            let text = format!("say {secret}, say no more");
            let (start, end) = (4, 4 + secret.len());
            for cut in 0..=text.len() {
                let (before, after) = text.as_bytes().split_at(cut);
                let (before, after) = (redactor.cut_end(before), redactor.cut_start(after));
                let is_inside = start < cut && cut < end;
                if is_inside {
                    assert_eq!(before, b"say ", "{secret} at {cut}");
                    assert_eq!(after, b", say no more", "{secret} at {cut}");
                }
                let shown = [before, b"|", after].concat();
                let shown = String::from_utf8_lossy(&shown);
                let shown = redactor.redact(&shown);
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        assert_eq!(redactor.cut("a hunter2 b".to_owned(), 4), "a **…");
        assert_eq!(Redactor::default().cut_end(b"say hunt"), b"say hunt");
        let alike = Redactor::new(["xyxyxy", "zzzzzz"]).unwrap();
        assert_eq!(
            alike.cut_end(b"xxxxxx"),
            b"xxxxx",
            "only what can be a part"
        );
        assert_eq!(alike.cut_start(b"yyyyyy"), b"yyyyy");
        assert_eq!(alike.cut_end(b"a zzzzzz zzz"), b"a zzzzzz ");
        assert_eq!(alike.cut_end(b"a zzzzzzz"), b"a ", "nor a part of another");
    }

    #[test]
    fn no_part_of_a_character_is_left_at_a_cut() {
        let none = Redactor::default();
        let ends: [(&[u8], &[u8]); 4] = [
            (b"plain", b"plain"),
            ("ab\u{20ac}".as_bytes(), "ab\u{20ac}".as_bytes()),
            (b"ab\xe2\x82", b"ab"),
            (b"a\xffb\xe2\x82", b"a\xffb\xe2\x82"),
        ];
        for (bytes, expected) in ends {
            assert_eq!(none.cut_end(bytes), expected, "{bytes:?}");
        }
        let starts: [(&[u8], &[u8]); 3] = [
            (b"plain", b"plain"),
            (b"\x82\xacab", b"ab"),
            (b"\x80\x80\x80\x80a", b"\x80a"),
        ];
        for (bytes, expected) in starts {
            assert_eq!(none.cut_start(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn base64_hides_no_secret_wherever_it_stands() {
        let secret = "hünter2>?~secret";
        let redactor = Redactor::new([secret]).unwrap();
        for before in ["", "u", "us", "usr", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = format!("{before}{secret}{after}");
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let redacted = redactor.redact(&encoded);
                    // At each end a letter may be left that holds a few bits of it.
                    let most = (before.len() + after.len()) * 4 / 3 + 3 + STARS.len();
                    assert!(redacted.contains(STARS), "{text} {redacted}");
                    assert!(redacted.len() <= most, "{text} {redacted}");
                }
            }
        }
        let long = "x".repeat(MAX_IN_BASE64 + 1);
        let redactor = Redactor::new([long.as_str()]).unwrap();
        let encoded = STANDARD_NO_PAD.encode(&long);
        assert_eq!(redactor.redact(&encoded), encoded);
    }

    #[test]
    fn without_secrets_nothing_is_copied() {
        for redactor in [Redactor::default(), Redactor::new(["abc", ""]).unwrap()] {
            assert!(redactor.is_empty());
            assert!(matches!(redactor.redact("abc"), Cow::Borrowed("abc")));
        }
        let redactor = Redactor::new(["secret"]).unwrap();
        assert!(matches!(redactor.redact("none"), Cow::Borrowed("none")));
        assert!(!format!("{redactor:?}").contains("secret"));
    }
}
