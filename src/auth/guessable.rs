//! Tokens that everybody guesses first, known by their digests.

use std::collections::HashMap;

use crate::secret::SecretDigest;

/// What people write for now and leave for ever, and what cracking lists begin with.
const WORDS: &[&str] = &[
    "",
    "000000",
    "111111",
    "123",
    "1234",
    "12345",
    "123456",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "abc",
    "abc123",
    "admin",
    "admin123",
    "alice",
    "api-key",
    "apikey",
    "asdf",
    "bearer",
    "bob",
    "change-me",
    "change_me",
    "changeit",
    "changeme",
    "claude",
    "default",
    "demo",
    "dev",
    "dummy",
    "example",
    "foo",
    "foobar",
    "guest",
    "hello",
    "hunter2",
    "letmein",
    "localhost",
    "login",
    "master",
    "mcp",
    "mcp-serve",
    "my-secret",
    "my-token",
    "mysecret",
    "mytoken",
    "none",
    "null",
    "pass",
    "passw0rd",
    "password",
    "password1",
    "password123",
    "placeholder",
    "prod",
    "production",
    "qwerty",
    "replace-me",
    "replaceme",
    "root",
    "s3cr3t",
    "sample",
    "secret",
    "secret123",
    "server",
    "super-secret",
    "supersecret",
    "test",
    "test-token",
    "test123",
    "testing",
    "testtoken",
    "token",
    "token123",
    "undefined",
    "user",
    "welcome",
    "xxx",
    "your-token",
    "your-token-here",
];

/// Whether this is one of the words.
pub(super) fn is_word(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    WORDS.contains(&text.as_str())
}

/// Digests of words, made once for a whole file.
#[derive(Debug)]
pub(super) struct Guessable(HashMap<SecretDigest, &'static str>);

impl Guessable {
    /// Digests every word: as it is, in capitals, and with the line end that `echo` adds.
    pub(super) fn new() -> Self {
        let digests = WORDS.iter().flat_map(|word| {
            let variants = [
                (*word).to_owned(),
                format!("{word}\n"),
                word.to_uppercase(),
                format!("{}\n", word.to_uppercase()),
            ];
            variants.map(|text| (SecretDigest::of(text.as_bytes()), *word))
        });
        Self(digests.collect())
    }

    /// Returns the word that a digest is of.
    pub(super) fn word(&self, digest: &SecretDigest) -> Option<&'static str> {
        self.0.get(digest).copied()
    }
}
