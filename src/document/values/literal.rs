//! Secrets that stand in a definition as they are.

use std::collections::HashMap;
use std::iter;
use std::ops::Range;

use super::SECRETS;
use super::reference;
use super::unexpanded;
use crate::document::diagnostic::{Code, Problem, Report, Source, Span};
use crate::document::yaml::{Entry, Scalar};

/// How tokens of well-known services begin. Each has 20 characters at least.
const PREFIXES: &[&str] = &[
    "AIza",
    "AKIA",
    "ASIA",
    "dckr_pat_",
    "gho_",
    "ghp_",
    "ghr_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "xoxs-",
];
/// How tokens begin whose beginnings other words have, too; the rest of a token looks random.
const COMMON_PREFIXES: &[&str] = &["hf_", "npm_", "sk-"];
/// The shortest of such tokens, in bytes.
const MIN_TOKEN: usize = 20;
/// The shortest word under a key for secrets that may be one, in bytes.
const MIN_SECRET: usize = 12;
/// How much text around a word is taken for Base64, in bytes on each side.
const MAX_BASE64: usize = 512;
/// How much a character of a random word tells, in bits. Words of people tell less, most of all
/// since they have no digits between their letters.
const MIN_BITS: f64 = 3.0;
/// Words between a name and its secret, as in `Authorization: Bearer …`.
const SCHEMES: &[&str] = &["Basic", "Bearer", "Token", "basic", "bearer", "token"];
/// How the names of keys and parameters end that hold secrets.
const SECRET_NAMES: &[&str] = &[
    "api_key",
    "apikey",
    "authorization",
    "bearer",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "token",
];

/// How names end under which the name of a user stands. It is no secret, however short it is.
const USER_NAMES: &[&str] = &["login", "user", "user_name", "username"];

/// Reports what looks like a secret in a text that stands under a key.
pub(crate) fn check(key: &str, scalar: &Scalar, report: &mut Report) {
    let help = "move it into a file of its own, and write `${file:/path/of/it}`";
    report_suspects(key, scalar, help, report);
}

/// Reports what looks like a secret in a script, where no `${…}` is replaced.
pub(crate) fn check_script(key: &str, scalar: &Scalar, report: &mut Report) {
    let help = "move it into a file of its own, write `NAME: ${file:/path/of/it}` under `env`, and \
                `$NAME` here";
    report_suspects(key, scalar, help, report);
}

fn report_suspects(key: &str, scalar: &Scalar, help: &str, report: &mut Report) {
    for range in suspects(key, &scalar.text) {
        let place = scalar.place(range, report);
        report.conceal(place);
        let message = "this looks like a token or a password";
        report.add(Problem::warning(Code::LiteralSecret, place, message).help(help));
    }
}

/// Conceals what looks like a secret wherever it stands in a file: after a mistake in the YAML nobody
/// knows what is a value of which key, and of two equal keys one is forgotten.
pub(crate) fn conceal(source: &Source, report: &mut Report) {
    let span = |range: Range<usize>| Span {
        start: source.base + range.start,
        end: source.base + range.end,
    };
    for range in suspects("", &source.text) {
        report.conceal(span(range));
    }
    for range in entries_of_secrets(&source.text) {
        report.hide(span(range));
    }
}

/// Hides what is written of a secret, and leaves what names it elsewhere.
pub(crate) fn hide(scalar: &Scalar, report: &mut Report) {
    for range in outside_references(scalar.written()) {
        report.hide(scalar.place(range, report));
    }
}

/// The values of the lines under `secrets`, as far as lines can tell.
fn entries_of_secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut is_within) = (0, false);
    for line in text.split_inclusive('\n') {
        if !line.starts_with([' ', '\t', '#', '\n', '\r', '}']) {
            let key = line.split(':').next().unwrap_or_default();
            is_within = key.trim_matches(['"', '\'']) == SECRETS;
        }
        if is_within {
            let value = start + line.find(':').map_or(0, |at| at + 1);
            let end = start + line.len();
            let outside = outside_references(text.get(value..end).unwrap_or_default());
            found.extend(outside.map(|range| value + range.start..value + range.end));
        }
        start += line.len();
    }
    found
}

/// The parts of a text between its `${…}`, without quotes and the like around them.
fn outside_references(text: &str) -> impl Iterator<Item = Range<usize>> {
    let references = reference::find(text).into_iter().map(|one| one.range);
    let mut start = 0;
    let gaps = references
        .chain(iter::once(text.len()..text.len()))
        .map(move |one| {
            let gap = start..one.start;
            start = one.end;
            gap
        });
    gaps.filter_map(|gap| {
        let inner = text.get(gap.clone())?;
        if unexpanded::whole(inner.trim().trim_matches('"')).is_some() {
            return None;
        }
        let is_around = |c: char| c.is_whitespace() || "{}[],:\"'".contains(c);
        let from = inner.len() - inner.trim_start_matches(is_around).len();
        let to = inner.trim_end_matches(is_around).len();
        (from < to).then_some(gap.start + from..gap.start + to)
    })
}

/// The parts of a text that look like secrets.
fn suspects(key: &str, text: &str) -> Vec<Range<usize>> {
    let mut found = private_keys(text);
    let references = reference::find(text).into_iter().map(|one| one.range);
    let mut references = references.peekable();
    let is_under_secret = is_secret_name(key);
    // What stands before the next word, if that is its value.
    let mut name = None;
    for range in words(text) {
        while references.next_if(|one| one.end <= range.start).is_some() {}
        let is_reference = references
            .peek()
            .is_some_and(|one| one.contains(&range.start));
        let word = text.get(range.clone()).unwrap_or_default();
        let after = text.get(range.end..).unwrap_or_default();
        if !is_reference && is_token(word) {
            found.push(range);
        } else if is_name(after) {
            name = Some(word);
            continue;
        } else if !is_reference
            && (is_under_secret || name.is_some_and(is_secret_name))
            && !is_placeholder(text, &range)
            && let Some(secret) = random(text, &range)
        {
            found.push(secret);
        } else if SCHEMES.contains(&word) {
            continue;
        }
        name = None;
    }
    found
}

/// The private keys in PEM, up to their last line.
fn private_keys(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some((start, rest)) = find_from(text, from, "-----BEGIN ") {
        let first = rest.lines().next().unwrap_or_default();
        from = start + first.len();
        if first.contains("PRIVATE KEY-----") {
            let end = find_from(text, from, "-----END ").map_or(text.len(), |(end, _)| end);
            found.push(start..end);
            from = end;
        }
    }
    found
}

/// Where the next such text begins, and what begins there.
fn find_from<'a>(text: &'a str, from: usize, wanted: &str) -> Option<(usize, &'a str)> {
    let at = from + text.get(from..)?.find(wanted)?;
    Some((at, text.get(at..)?))
}

/// Whether what stands before this text is a name, and a value comes next.
fn is_name(after: &str) -> bool {
    let is_space = |text: &str| text.is_empty() || text.starts_with(char::is_whitespace);
    // Base64 may end with `=`.
    let is_value = |c: char| !c.is_whitespace() && !"=\"',;)}]".contains(c);
    let assigned = after.strip_prefix('=').map(without_quote);
    let of_key = without_quote(after).strip_prefix(':');
    of_key.is_some_and(is_space) || assigned.is_some_and(|value| value.starts_with(is_value))
}

fn without_quote(text: &str) -> &str {
    text.strip_prefix(['"', '\'']).unwrap_or(text)
}

/// Whether a word is the name of a variable or parameter, and no value.
fn is_placeholder(text: &str, word: &Range<usize>) -> bool {
    let before = text.get(..word.start).unwrap_or_default();
    before.ends_with(['$', '{'])
}

/// The random text that a word belongs to, if it does: itself, or Base64 with `/` and `=` in it.
fn random(text: &str, word: &Range<usize>) -> Option<Range<usize>> {
    let is_part = |byte: &u8| b"/=".contains(byte) || is_token_character(char::from(*byte));
    let before = text.get(..word.start)?.bytes().rev().take(MAX_BASE64);
    let after = text.get(word.end..)?.bytes().take(MAX_BASE64);
    let before = before
        .take_while(|byte| is_part(byte) && *byte != b'=')
        .count();
    let whole = word.start - before..word.end + after.take_while(is_part).count();
    let written = text.get(whole.clone())?;
    let has = |is: fn(&u8) -> bool| written.as_bytes().iter().any(is);
    // A path has no capital letters, or begins with its root.
    let is_base64 = has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && !written.starts_with('/')
        && !written.contains("//");
    if is_base64 && is_random(written) {
        return Some(whole);
    }
    is_random(text.get(word.clone())?).then(|| word.clone())
}

/// Reports a parameter that holds a secret and that a header repeats: what stands between client and
/// server reads headers, and writes them into logs.
pub(crate) fn check_header(entry: &Entry, report: &mut Report) {
    let Some(header) = entry.value.get("x-mcp-header") else {
        return;
    };
    let name = &entry.key.text;
    if is_secret_name(name) {
        let message = format!("`{name}` looks like a secret, and a header repeats it");
        let problem = Problem::warning(Code::LiteralSecret, header.key.span, message);
        report.add(problem.help("remove `x-mcp-header`: proxies read headers and log them"));
    }
}

/// Reports a secret that stands in the file itself; `path` is where it could be.
pub(crate) fn report(subject: &str, path: &str, place: Span, report: &mut Report) {
    report.hide(place);
    let message = format!("{subject} stands in the file");
    let help = format!("move it into a file of its own, and write `${{file:{path}}}`");
    report.add(Problem::warning(Code::LiteralSecret, place, message).help(help));
}

/// Whether what has this name is a secret, by its looks.
pub(crate) fn is_secret_name(name: &str) -> bool {
    ends_with_any(name, SECRET_NAMES)
}

/// Whether what has this name is the name of a user, by its looks.
pub(crate) fn is_user_name(name: &str) -> bool {
    ends_with_any(name, USER_NAMES)
}

fn ends_with_any(name: &str, endings: &[&str]) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    endings.iter().any(|ending| name.ends_with(ending))
}

fn is_token(word: &str) -> bool {
    let has_prefix = PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    if has_prefix {
        return word.len() >= MIN_TOKEN && word.contains(|c: char| c.is_ascii_digit());
    }
    let rest = COMMON_PREFIXES
        .iter()
        .find_map(|prefix| word.strip_prefix(prefix));
    if let Some(rest) = rest {
        let is_mixed = rest.contains(|c: char| c.is_ascii_uppercase()) || is_hexadecimal(rest);
        return word.len() >= MIN_TOKEN && is_mixed && is_random(rest);
    }
    // A JSON Web Token: the header and the claims both begin with `{"` in Base64.
    let mut parts = word.split('.');
    let mut is_object = || parts.next().is_some_and(|part| part.starts_with("eyJ"));
    is_object() && is_object() && word.len() >= MIN_TOKEN
}

fn is_hexadecimal(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_random(word: &str) -> bool {
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    word.len() >= MIN_SECRET
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && bits(word) >= MIN_BITS
}

/// The entropy of the characters of a word, in bits for each.
#[expect(
    clippy::cast_precision_loss,
    reason = "a word has far fewer characters than a float has digits"
)]
fn bits(word: &str) -> f64 {
    let mut counts: HashMap<u8, usize> = HashMap::new();
    word.bytes()
        .for_each(|byte| *counts.entry(byte).or_default() += 1);
    let length = word.len() as f64;
    let share = |count: &usize| *count as f64 / length;
    counts
        .values()
        .map(share)
        .map(|share| -share * share.log2())
        .sum()
}

/// The runs of characters that tokens have.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_apart = |c: char| !is_token_character(c);
    let mut at = 0;
    let words = text.split_inclusive(is_apart).map(move |word| {
        let start = at;
        at += word.len();
        start..start + word.trim_end_matches(is_apart).len()
    });
    words.filter(|range| !range.is_empty())
}

fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(key: &str, text: &'a str) -> Vec<&'a str> {
        let suspects = suspects(key, text).into_iter();
        suspects.filter_map(|range| text.get(range)).collect()
    }

    #[test]
    fn tokens_are_known_by_their_looks() {
        let github = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
        let cases = [
            (
                "run",
                format!("curl -H 'Authorization: Bearer {github}'"),
                vec![github],
            ),
            ("args", format!("--token={github}"), vec![github]),
            ("x", jwt.to_owned(), vec![jwt]),
            (
                "x",
                "AKIAIOSFODNN7EXAMPLE".to_owned(),
                vec!["AKIAIOSFODNN7EXAMPLE"],
            ),
            ("x", "sk-learn is a library".to_owned(), vec![]),
            (
                "x",
                "npm_config_cache_folder_2 hf_transformers_cache_v4".to_owned(),
                vec![],
            ),
            (
                "x",
                "npm_a0B1c2D3e4F5g6H7i8J9".to_owned(),
                vec!["npm_a0B1c2D3e4F5g6H7i8J9"],
            ),
            ("x", "ghp_ is a prefix".to_owned(), vec![]),
            ("x", "a0b1c2d3e4f5g6h7i8j9".to_owned(), vec![]),
            (
                "db_password",
                "a0b1c2d3e4f5".to_owned(),
                vec!["a0b1c2d3e4f5"],
            ),
            ("X-Api-Key", "a0b1c2d3e4f5".to_owned(), vec!["a0b1c2d3e4f5"]),
            (
                "Authorization",
                "Basic dXNlcjpwYXNzd29yZDEy".to_owned(),
                vec!["dXNlcjpwYXNzd29yZDEy"],
            ),
            ("token", "optional string".to_owned(), vec![]),
            ("token", "correct-horse-battery".to_owned(), vec![]),
            ("token", "aaaaaaaaaaa1".to_owned(), vec![]),
            (
                "run",
                "PASSWORD=a0b1c2d3e4f5 x".to_owned(),
                vec!["a0b1c2d3e4f5"],
            ),
            (
                "run",
                "curl -H \"Authorization: Bearer a0B1/c2D3e4F5g6H7==\" x".to_owned(),
                vec!["a0B1/c2D3e4F5g6H7=="],
            ),
            (
                "",
                "x: 1\ntoken: |\n  a0b1c2d3e4f5".to_owned(),
                vec!["a0b1c2d3e4f5"],
            ),
            (
                "",
                "{\"token\": \"a0b1c2d3e4f5\"}".to_owned(),
                vec!["a0b1c2d3e4f5"],
            ),
            (
                "",
                "password: 'dXNlcjpwYXNzd29yZDEyMw=='".to_owned(),
                vec!["dXNlcjpwYXNzd29yZDEyMw=="],
            ),
            ("run", "TOKEN=\"$INPUT_TOKEN_12\"".to_owned(), vec![]),
            ("run", "TOKEN=${INPUT_TOKEN_12}".to_owned(), vec![]),
            ("run", "TOKEN=$(vault read a0b1c2d3e4f5)".to_owned(), vec![]),
            ("token", "{reset_token_v2}".to_owned(), vec![]),
            (
                "description",
                "a token: ask a0b1c2d3e4f5".to_owned(),
                vec![],
            ),
            ("password", "${env:DB_PASSWORD_2}".to_owned(), vec![]),
            (
                "token_url",
                "https://id.example.com/oauth2/v2.0/token".to_owned(),
                vec![],
            ),
        ];
        for (key, text, expected) in cases {
            assert_eq!(found(key, &text), expected, "{key}: {text}");
        }
    }

    #[test]
    fn what_stands_under_secrets_is_hidden_as_far_as_lines_tell() {
        let text = "\
secrets:
  a: hunter2 # of hunters
  b: ${file:/run/b}
  c: \"${env:C}\"

  d: |
    two words
tools: {x: 1}
\"secrets\": {e: plain, f: ${env:F}}
";
        let found: Vec<_> = (entries_of_secrets(text).into_iter())
            .filter_map(|range| text.get(range))
            .collect();
        let expected = ["hunter2 # of hunters", "|", "two words", "e: plain, f"];
        assert_eq!(found, expected);
    }
}
