//! The public keys of an issuer (RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of a set that are used. Issuers have one or two, and a few while they rotate them.
const MAX_KEYS: usize = 32;

/// The shortest modulus of an RSA key, in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// The algorithms of an RSA key that does not name one.
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The keys of one issuer that check signatures.
#[derive(Debug, Default)]
pub(in crate::auth) struct KeySet {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

/// Why there is no set of keys in a document.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum KeySetError {
    #[error("it is not a JSON Web Key Set: {0}")]
    NotASet(#[from] serde_json::Error),
    #[error("none of its {0} keys can check a token")]
    NoKeys(usize),
}

/// Why a key of a set is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("it is not a key that can be read")]
    Unreadable,
    #[error("it is not for signatures")]
    OtherUse,
    #[error("it is a shared secret")]
    Symmetric,
    #[error("it is of a kind or for an algorithm that is not supported")]
    Unsupported,
    #[error("its RSA modulus has fewer than {MIN_RSA_BITS} bits")]
    Weak,
    #[error("the set has more than {MAX_KEYS} keys")]
    TooMany,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. A key that cannot be used is left out, which the log says: it may be for others.
    pub(in crate::auth) fn read(document: &[u8]) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_slice(document)?;
        let all = document.keys.len();
        let mut keys = Vec::new();
        for value in document.keys {
            let id = value.get("kid").and_then(Value::as_str).map(str::to_owned);
            let room = (keys.len() < MAX_KEYS).then_some(());
            match room
                .ok_or(Unusable::TooMany)
                .and_then(|()| Key::read(value))
            {
                Ok(key) => keys.push(key),
                Err(error) => tracing::debug!(?id, %error, "a key of an issuer is not used"),
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoKeys(all));
        }
        Ok(Self { keys })
    }

    /// The keys that may have made a signature: those of the name that the token says, or all if it
    /// says none, as far as they are for its algorithm.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let keys = self.keys.iter();
        keys.filter(move |key| id.is_none() || key.id.as_deref() == id)
            .filter(move |key| key.algorithms.contains(&algorithm))
            .map(|key| &key.public)
    }
}

impl Key {
    fn read(value: Value) -> Result<Self, Unusable> {
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| Unusable::Unreadable)?;
        let common = &jwk.common;
        let is_for_signatures = common
            .public_key_use
            .as_ref()
            .is_none_or(|use_| *use_ == PublicKeyUse::Signature)
            && (common.key_operations.as_ref())
                .is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !is_for_signatures {
            return Err(Unusable::OtherUse);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| Unusable::Unreadable);
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => {
                check_strength(key.as_ref().map_err(|error| *error)?)?;
                RSA.to_vec()
            }
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return Err(Unusable::Unsupported),
            },
            AlgorithmParameters::OctetKeyPair(pair) => match pair.curve {
                EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
                _ => return Err(Unusable::Unsupported),
            },
            AlgorithmParameters::OctetKey(_) => return Err(Unusable::Symmetric),
            _ => return Err(Unusable::Unsupported),
        };
        if let Some(named) = common.key_algorithm {
            algorithms.retain(|algorithm| named == (*algorithm).into());
        }
        if algorithms.is_empty() {
            return Err(Unusable::Unsupported);
        }
        Ok(Self {
            id: jwk.common.key_id,
            algorithms,
            public: key?,
        })
    }
}

fn check_strength(key: &DecodingKey) -> Result<(), Unusable> {
    let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind() else {
        return Err(Unusable::Unreadable);
    };
    let zeros = n.iter().take_while(|byte| **byte == 0).count();
    let bits = n.get(zeros).map_or(0, |first| {
        (n.len() - zeros) * 8 - first.leading_zeros() as usize
    });
    if bits < MIN_RSA_BITS {
        Err(Unusable::Weak)
    } else {
        Ok(())
    }
}
