//! Text that must not be seen: tokens.

mod folder;

use std::fmt;
use std::fs::{File, Metadata};
use std::hash::{Hash, Hasher};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub(crate) use folder::OTHERS_WRITE;
pub use folder::OpenFolder;

/// The largest file that holds one secret, in bytes.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// A secret text. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Never log what this returns.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The SHA-256 digest, which may be kept and compared.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 digest of a secret. Two digests compare in constant time, so that the time of a
/// refusal tells nothing about the secret.
#[derive(Clone)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of bytes that a client presented.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits, as `sha256sum` writes them; `None` for every other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut digest = [0; 32];
        if pairs.len() != digest.len() || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            let digit = |hex: u8| char::from(hex).to_digit(16);
            *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
        }
        Some(Self(digest))
    }

    /// Writes 64 hexadecimal digits, as an auth file has them.
    pub fn to_hex(&self) -> String {
        let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(digit).collect()
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretDigest {}

impl Hash for SecretDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}

/// Whether the owner and mode of a file are checked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Permissions {
    /// Refuse a file that others could have read or changed.
    #[default]
    Checked,
    /// Accept any file.
    Unchecked,
}

/// Why a secret file was not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file could not be opened or read.
    #[error("cannot read it")]
    Unreadable(#[from] std::io::Error),
    /// The path is a folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Somebody else owns the file.
    #[error(
        "it belongs to user {owner}, but must belong to root or to user {user}, whom the server runs as"
    )]
    ForeignOwner {
        /// The user id that owns the file.
        owner: u32,
        /// The user id of the server.
        user: u32,
    },
    /// Others can read or write the file, or its group can write it.
    #[error(
        "its mode is {mode:04o}, but others must have no access and the group may not write; run chmod 0600 on it"
    )]
    OpenToOthers {
        /// The permission bits.
        mode: u32,
    },
    /// Others can change the file.
    #[error("its mode is {mode:04o}, but only its owner may change it; run chmod go-w on it")]
    Writable {
        /// The permission bits.
        mode: u32,
    },
    /// Others can put another file in its place.
    #[error("it {0}")]
    Replaceable(OpenFolder),
    /// The file is larger than what it should hold; the bound is in bytes.
    #[error("it is larger than {} KiB", .0 / 1024)]
    TooLarge(u64),
    /// The file is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
}

/// Reads a secret file of at most `most` bytes. Owner and mode are judged on the opened file, since
/// a mounted secret is often a symbolic link, and then the mode of its folder.
///
/// # Errors
///
/// [`SecretFileError`] says what is wrong; the caller adds which file.
pub fn read_file(
    path: &Path,
    permissions: Permissions,
    most: u64,
) -> Result<Secret, SecretFileError> {
    let (file, metadata) = open(path)?;
    if permissions == Permissions::Checked {
        check_permissions(&metadata)?;
        check_folder(path)?;
    }
    read(file, most)
}

/// Reads a file that everybody may read and nobody may change, of at most `most` bytes.
///
/// # Errors
///
/// [`SecretFileError`] says what is wrong; the caller adds which file.
pub fn read_public(
    path: &Path,
    permissions: Permissions,
    most: u64,
) -> Result<String, SecretFileError> {
    const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
    let (file, metadata) = open(path)?;
    if permissions == Permissions::Checked {
        check_owner(&metadata)?;
        let mode = metadata.mode() & 0o7777;
        if mode & GROUP_OR_OTHERS_WRITE != 0 {
            return Err(SecretFileError::Writable { mode });
        }
        check_folder(path)?;
    }
    read(file, most).map(|Secret(text)| text)
}

/// As [`read_file`], but what is wrong with owner, mode and folder is handed back beside the secret.
///
/// # Errors
///
/// [`SecretFileError`] says what is wrong; the caller adds which file.
pub fn read_doubtful(
    path: &Path,
    most: u64,
) -> Result<(Secret, Option<SecretFileError>), SecretFileError> {
    let (file, metadata) = open(path)?;
    let doubt = check_permissions(&metadata).and_then(|()| check_folder(path));
    Ok((read(file, most)?, doubt.err()))
}

fn open(path: &Path) -> Result<(File, Metadata), SecretFileError> {
    // Without waiting: opening a pipe would wait for a writer, and it is refused anyway.
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(SecretFileError::NotAFile);
    }
    Ok((file, metadata))
}

fn read(file: File, most: u64) -> Result<Secret, SecretFileError> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(SecretFileError::TooLarge(most));
    }
    String::from_utf8(bytes)
        .map(Secret)
        .map_err(|_| SecretFileError::NotText)
}

fn check_folder(path: &Path) -> Result<(), SecretFileError> {
    match OpenFolder::of(path)? {
        Some(folder) => Err(SecretFileError::Replaceable(folder)),
        None => Ok(()),
    }
}

fn check_owner(metadata: &Metadata) -> Result<(), SecretFileError> {
    let user = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    if owner != 0 && owner != user {
        return Err(SecretFileError::ForeignOwner { owner, user });
    }
    Ok(())
}

/// Refuses a file that others could have read or changed.
pub(crate) fn check_permissions(metadata: &Metadata) -> Result<(), SecretFileError> {
    const OTHERS: u32 = 0o007;
    const GROUP_WRITE: u32 = 0o020;
    check_owner(metadata)?;
    let mode = metadata.mode() & 0o7777;
    if mode & (OTHERS | GROUP_WRITE) != 0 {
        return Err(SecretFileError::OpenToOthers { mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_a_secret() {
        let secret = Secret::new("correct-horse-battery");
        for shown in [format!("{secret:?}"), format!("{:?}", secret.digest())] {
            assert!(!shown.contains("correct"), "{shown}");
        }
    }

    #[test]
    fn digests_compare_by_content() {
        let secret = Secret::new("a");
        assert_eq!(secret.digest(), SecretDigest::of(b"a"));
        assert_ne!(secret.digest(), SecretDigest::of(b"b"));
        assert_ne!(secret.digest(), SecretDigest::of(b""));
    }

    #[test]
    fn digests_are_read_from_hexadecimal_digits() {
        let hex = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
        let cases = [
            (hex.to_owned(), true),
            (hex.to_uppercase(), true),
            (String::new(), false),
            (hex[..63].to_owned(), false),
            (format!("{hex}0"), false),
            (format!("{hex}00"), false),
            (hex.replace('b', "g"), false),
            (hex.replace("ca", "é"), false),
        ];
        for (text, is_digest) in cases {
            let expected = is_digest.then(|| SecretDigest::of(b"a"));
            assert_eq!(SecretDigest::from_hex(&text), expected, "{text}");
        }
    }
}
