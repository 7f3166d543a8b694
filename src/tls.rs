//! What encrypts the connections of clients: a certificate and its key, which are read again when they
//! change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, ServerConfig};

use crate::secret::{self, MAX_SECRET_BYTES, Permissions, Secret, SecretFileError};
use crate::snapshot::Snapshot;

/// What is spoken inside (RFC 7301): a client that speaks only something else is told so at once.
const PROTOCOL: &[u8] = b"http/1.1";

/// Chooses the cryptography of the process, once: what asks others takes what it finds.
pub(crate) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // It fails only if there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

/// A certificate with its key, as it is used for new connections.
#[derive(Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    permissions: Permissions,
    current: Arc<ArcSwap<ServerConfig>>,
    /// The files as they were just before they were read.
    seen: Snapshot,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Why there is no certificate that could be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate cannot be used.
    #[error("--tls-cert {}", .0.display())]
    Certificate(PathBuf, #[source] Unusable),
    /// The key cannot be used.
    #[error("--tls-key {}", .0.display())]
    Key(PathBuf, #[source] Unusable),
    /// They are of two servers.
    #[error(
        "--tls-key {} is not the key of the first certificate in --tls-cert {}",
        .key.display(),
        .certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
}

/// What is wrong with one of the files.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It was not read.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// It is no certificate.
    #[error("it holds no certificate in PEM form")]
    NoCertificate,
    /// It is no key.
    #[error("it holds no private key in PEM form; one that is encrypted must be decrypted first")]
    NoKey,
    /// It is something that is not supported.
    #[error("it cannot be used")]
    Unsupported(#[from] rustls::Error),
}

impl Tls {
    /// Reads both files. The owner and mode of the key are judged as those of a token file. Blocks.
    ///
    /// # Errors
    ///
    /// [`TlsError`] with the option, the file and what is wrong.
    pub fn load(
        certificate: PathBuf,
        key: PathBuf,
        permissions: Permissions,
    ) -> Result<Self, TlsError> {
        let seen = look(&certificate, &key);
        let config = read(&certificate, &key, permissions)?;
        Ok(Self {
            certificate,
            key,
            permissions,
            current: Arc::new(ArcSwap::from_pointee(config)),
            seen,
        })
    }

    /// What the next connection uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads both files again, for connections that are opened from now on. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Tls::load`]; what was used before still is.
    pub fn reload(&mut self) -> Result<(), TlsError> {
        self.seen = look(&self.certificate, &self.key);
        let config = read(&self.certificate, &self.key, self.permissions)?;
        self.current.store(Arc::new(config));
        Ok(())
    }

    /// The files as they were when they were read last.
    pub fn seen(&self) -> &Snapshot {
        &self.seen
    }

    /// The file of the certificate.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }
}

fn look(certificate: &Path, key: &Path) -> Snapshot {
    let mut seen = Snapshot::of(certificate);
    seen.add(Snapshot::of(key));
    seen
}

fn read(
    certificate: &Path,
    key: &Path,
    permissions: Permissions,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let of_certificate = |error| TlsError::Certificate(certificate.to_owned(), error);
    let of_key = |error| TlsError::Key(key.to_owned(), error);

    let chain = chain(certificate).map_err(of_certificate)?;
    let secret = secret::read_file(key, permissions, MAX_SECRET_BYTES);
    let secret = secret.map_err(|error| of_key(error.into()))?;
    let secret = private_key(&secret).map_err(of_key)?;
    let signing = provider.key_provider.load_private_key(secret);
    let certified = CertifiedKey::new(chain, signing.map_err(|error| of_key(error.into()))?);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(TlsError::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            });
        }
        Err(error) => return Err(of_certificate(error.into())),
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| of_certificate(error.into()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let text = secret::read_file(file, Permissions::Unchecked, MAX_SECRET_BYTES)?;
    let chain = CertificateDer::pem_slice_iter(text.expose().as_bytes()).collect();
    let chain: Result<Vec<_>, _> = chain;
    chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or(Unusable::NoCertificate)
}

fn private_key(text: &Secret) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|_| Unusable::NoKey)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(name: &str) -> PathBuf {
        Path::new("tests/it/tls").join(name)
    }

    fn refused(certificate: &Path, key: &Path) -> String {
        let loaded = Tls::load(certificate.into(), key.into(), Permissions::Unchecked);
        format!("{:#}", anyhow::Error::from(loaded.unwrap_err()))
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_option() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (certificate, key) = (file("server.pem"), file("server.key"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let cases = [
            (
                certificate.clone(),
                file("client.key"),
                "--tls-key tests/it/tls/client.key is not the key of the first certificate in \
                 --tls-cert tests/it/tls/server.pem",
            ),
            (
                key.clone(),
                key.clone(),
                "it holds no certificate in PEM form",
            ),
            (
                write("empty", ""),
                key.clone(),
                "it holds no certificate in PEM form",
            ),
            (write("broken", broken), key.clone(), "it cannot be used"),
            (
                certificate.clone(),
                certificate.clone(),
                "--tls-key tests/it/tls/server.pem: it holds no private key in PEM form",
            ),
            (
                certificate.clone(),
                write("key", broken_key),
                "key: it cannot be used",
            ),
            (
                file("absent.pem"),
                key.clone(),
                "--tls-cert tests/it/tls/absent.pem: cannot read it",
            ),
            (
                certificate.clone(),
                file("absent.key"),
                "--tls-key tests/it/tls/absent.key: cannot read it",
            ),
            (
                certificate,
                folder.path().into(),
                "it is not a regular file",
            ),
        ];
        for (certificate, key, expected) in cases {
            let message = refused(&certificate, &key);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn what_is_broken_is_not_used_and_what_is_good_is() {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = ["server.pem", "server.key"].map(|name| {
            let to = folder.path().join(name);
            fs::copy(file(name), &to).unwrap();
            to
        });
        let mut tls = Tls::load(certificate, key.clone(), Permissions::Unchecked).unwrap();
        let before = tls.config();
        assert_eq!(before.alpn_protocols, [b"http/1.1"]);
        fs::copy(file("client.key"), &key).unwrap();
        assert_ne!(*tls.seen(), tls.seen().again());
        tls.reload().unwrap_err();
        assert_eq!(*tls.seen(), tls.seen().again());
        assert!(Arc::ptr_eq(&tls.config(), &before));
        fs::copy(file("server.key"), &key).unwrap();
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&tls.config(), &before));
    }
}
