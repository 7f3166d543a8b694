//! Secrets that stand in a definition as they are.

use std::collections::HashMap;
use std::ops::Range;

use super::reference;
use crate::document::diagnostic::{Code, Problem, Report, Span};
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
    "hf_",
    "npm_",
    "sk-",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "xoxs-",
];
/// The shortest of such tokens, in bytes.
const MIN_TOKEN: usize = 20;
/// The shortest word under a key for secrets that may be one, in bytes.
const MIN_SECRET: usize = 12;
/// How much a character of a random word tells, in bits. Words of people tell less, most of all
/// since they have no digits between their letters.
const MIN_BITS: f64 = 3.0;
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

/// Reports what looks like a secret in a text that stands under a key.
pub(super) fn check(key: &str, scalar: &Scalar, report: &mut Report) {
    let text = scalar.text.as_str();
    if let Some(start) = text
        .find("-----BEGIN ")
        .filter(|_| text.contains("PRIVATE KEY-----"))
    {
        let place = scalar.place(start..text.len(), report);
        return report_token(place, report);
    }
    for range in suspects(key, text) {
        let place = scalar.place(range, report);
        report_token(place, report);
    }
}

/// The words of a text that look like secrets.
fn suspects(key: &str, text: &str) -> Vec<Range<usize>> {
    let is_secret = is_secret_name(key);
    let named: Vec<_> = reference::find(text)
        .into_iter()
        .map(|one| one.range)
        .collect();
    words(text)
        .filter(|word| !named.iter().any(|range| range.contains(&word.start)))
        .filter(|word| {
            let word = text.get(word.clone()).unwrap_or_default();
            is_token(word) || (is_secret && is_random(word))
        })
        .collect()
}

/// Reports a parameter that holds a secret and that a header repeats: what stands between client and
/// server reads headers, and writes them into logs.
pub(super) fn check_header(entry: &Entry, report: &mut Report) {
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

/// Reports an entry of `secrets` that holds its value itself.
pub(super) fn report(name: &str, place: Span, report: &mut Report) {
    report.hide(place);
    let message = format!("the secret `{name}` stands in the file");
    let help = format!("move it into a file of its own, and write `${{file:/run/secrets/{name}}}`");
    report.add(Problem::warning(Code::LiteralSecret, place, message).help(help));
}

fn report_token(place: Span, report: &mut Report) {
    report.hide(place);
    let message = "this looks like a token or a password";
    let help = "move it into a file of its own, and write `${file:/path/of/it}`";
    report.add(Problem::warning(Code::LiteralSecret, place, message).help(help));
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRET_NAMES.iter().any(|known| name.ends_with(known))
}

fn is_token(word: &str) -> bool {
    let has_prefix = PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    if has_prefix {
        return word.len() >= MIN_TOKEN && word.contains(|c: char| c.is_ascii_digit());
    }
    // A JSON Web Token: the header and the claims both begin with `{"` in Base64.
    let mut parts = word.split('.');
    let mut is_object = || parts.next().is_some_and(|part| part.starts_with("eyJ"));
    is_object() && is_object() && word.len() >= MIN_TOKEN
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
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~+".contains(c);
    let mut at = 0;
    text.split_inclusive(move |c| !is_token(c))
        .map(move |word| {
            let start = at;
            at += word.len();
            start..start + word.trim_end_matches(|c| !is_token(c)).len()
        })
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
}
