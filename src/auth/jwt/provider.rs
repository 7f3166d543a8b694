//! Signatures are checked by `ring`, which TLS has here already.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    self as algorithms, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use signature::{Error, Verifier};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        let check = Check::of(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
        if key.family() != algorithm.family() {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Box::new(RingVerifier {
            algorithm: *algorithm,
            check,
            key: key.clone(),
        }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` use `ring`. Needed before the first token is checked.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if PROVIDER.install_default().is_err() {
            tracing::error!("tokens are not checked by ring");
        }
    });
}

/// How `ring` checks the signatures of an algorithm.
#[derive(Clone, Copy)]
enum Check {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

impl Check {
    /// `None` for an algorithm whose key is shared: who could check such a token could make one.
    fn of(algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::RS256 => Self::Rsa(&algorithms::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Self::Rsa(&algorithms::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Self::Rsa(&algorithms::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Self::Rsa(&algorithms::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Self::Rsa(&algorithms::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Self::Rsa(&algorithms::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Self::Curve(&algorithms::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Self::Curve(&algorithms::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Self::Curve(&algorithms::ED25519),
            _ => return None,
        })
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    check: Check,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        let verified = match (self.check, self.key.kind()) {
            (Check::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Check::Curve(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(algorithm, key).verify(message, signature)
            }
            _ => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
