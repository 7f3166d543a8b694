//! Texts that clients carry for the server: they can neither read nor change them.
//!
//! A text is encrypted and authenticated with XChaCha20-Poly1305, under a random nonce, which is
//! long enough to be drawn without coordination by any number of servers that share a key. What it
//! is bound to is authenticated with it: opened in another place it is as good as garbage.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

/// The length of a key, in bytes.
pub const KEY_BYTES: usize = 32;
/// The length of a nonce, in bytes.
const NONCE_BYTES: usize = 24;

/// Seals texts and opens them again.
pub struct Seal(XChaCha20Poly1305);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// Seals with a random key, which nobody else has and a restart forgets.
    ///
    /// # Panics
    ///
    /// If the system has no random bits.
    #[expect(
        clippy::expect_used,
        reason = "without random bits nothing can be sealed"
    )]
    pub fn random() -> Self {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).expect("the system has random bits");
        Self::with_key(&key)
    }

    /// Seals with a key of [`KEY_BYTES`], in Base64 or in hexadecimal digits; `None` for every
    /// other text.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let key = from_hex(text).or_else(|| STANDARD.decode(text).ok()?.try_into().ok())?;
        Some(Self::with_key(&key))
    }

    fn with_key(key: &[u8; KEY_BYTES]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    /// Seals a text, bound to its place. Two seals of the same text differ.
    pub fn seal(&self, place: &[u8], text: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload {
            msg: text,
            aad: place,
        };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what was sealed for this place; `None` for everything else.
    pub fn open(&self, place: &[u8], sealed: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: sealed,
            aad: place,
        };
        self.0.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

fn from_hex(text: &str) -> Option<[u8; KEY_BYTES]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let pairs: &[_; KEY_BYTES] = pairs.try_into().ok().filter(|_| rest.is_empty())?;
    let mut key = [0; KEY_BYTES];
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |hex: u8| char::from(hex).to_digit(16);
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_opened_in_its_place_only() {
        let (seal, other) = (Seal::random(), Seal::random());
        for text in [&b""[..], b"x", &[0; 10_000]] {
            let sealed = seal.seal(b"here", text).unwrap();
            assert_eq!(seal.open(b"here", &sealed).as_deref(), Some(text));
            assert_eq!(seal.open(b"there", &sealed), None);
            assert_eq!(seal.open(b"", &sealed), None);
            assert_eq!(other.open(b"here", &sealed), None);
            assert_ne!(seal.seal(b"here", text), Some(sealed));
        }
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let seal = Seal::random();
        let sealed = seal.seal(b"here", br#"{"a":1}"#).unwrap();
        for at in 0..sealed.len() {
            for with in [b'A', b'b', b'_', b'=', b' '] {
                let mut bytes = sealed.clone().into_bytes();
                if bytes[at] == with {
                    continue;
                }
                bytes[at] = with;
                let changed = String::from_utf8(bytes).unwrap();
                assert_eq!(seal.open(b"here", &changed), None, "{at}");
            }
            assert_eq!(seal.open(b"here", &sealed[..at]), None);
        }
        assert_eq!(seal.open(b"here", &format!("{sealed}-TAMPERED")), None);
        assert_eq!(seal.open(b"here", &format!("{sealed}A")), None);
    }

    #[test]
    fn garbage_is_not_opened() {
        let seal = Seal::random();
        for length in 0..200 {
            let mut bytes = vec![0; length];
            getrandom::fill(&mut bytes).unwrap();
            assert_eq!(seal.open(b"here", &URL_SAFE_NO_PAD.encode(&bytes)), None);
            assert_eq!(seal.open(b"here", &String::from_utf8_lossy(&bytes)), None);
        }
    }

    #[test]
    fn a_key_is_base64_or_hexadecimal() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let seal = Seal::parse(hex).unwrap();
        let sealed = seal.seal(b"", b"x").unwrap();
        for same in [base64.to_owned(), format!("{base64}\n"), hex.to_uppercase()] {
            let seal = Seal::parse(&same).unwrap();
            assert_eq!(
                seal.open(b"", &sealed).as_deref(),
                Some(&b"x"[..]),
                "{same}"
            );
        }
        for wrong in [
            "",
            "AAEC",
            &hex[1..],
            &format!("{hex}00"),
            &base64[4..],
            &"g".repeat(64),
        ] {
            assert!(Seal::parse(wrong).is_none(), "{wrong}");
        }
    }
}
