//! The file that says who may call: read at the start, and again when it has changed.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};

use super::{permissions, read_secret};
use crate::auth::{Authenticator, Surroundings};
use crate::cli::Cli;
use crate::document::Diagnostic;
use crate::environment::Variables;
use crate::secret;
use crate::snapshot::Snapshot;

/// The largest auth file, in bytes: ten thousand tokens have room in it.
const MAX_AUTH_BYTES: u64 = 4 * 1024 * 1024;

/// Where it is said who may call, and what was there when it was read last.
#[derive(Debug, Clone)]
pub struct Credentials {
    file: Option<CredentialFile>,
    around: Surroundings,
    seen: Snapshot,
}

/// A file that says who may call.
#[derive(Debug, Clone)]
enum CredentialFile {
    /// That of `--auth`.
    Auth(PathBuf),
    /// That of `--token-file`.
    Token(PathBuf),
}

/// Reads who may call, and returns it with what is doubtful.
///
/// # Errors
///
/// As [`Credentials::load`].
pub(crate) fn authenticator(
    cli: &Cli,
    variables: &Variables,
) -> anyhow::Result<(Authenticator, Vec<Diagnostic>)> {
    Credentials::new(cli, variables)?.load()
}

impl Credentials {
    /// Reads nothing yet.
    ///
    /// # Errors
    ///
    /// Two files are named.
    pub(crate) fn new(cli: &Cli, variables: &Variables) -> anyhow::Result<Self> {
        let access = &cli.access;
        let file = match (&access.auth, &access.token_file) {
            (None, None) => None,
            (Some(path), None) => Some(CredentialFile::Auth(path.clone())),
            (None, Some(path)) => Some(CredentialFile::Token(path.clone())),
            (Some(_), Some(_)) => bail!(
                "--auth and --token-file both say who may call: set only one of them, and of their \
                 variables MCP_SERVE_AUTH and MCP_SERVE_TOKEN_FILE"
            ),
        };
        Ok(Self {
            file,
            around: Surroundings {
                variables: variables.clone(),
                permissions: permissions(access),
                public_url: cli.network.public_url.clone(),
                path: cli.serve.path.as_str().to_owned(),
            },
            seen: Snapshot::default(),
        })
    }

    /// The file; `None` where everybody may call.
    pub fn path(&self) -> Option<&Path> {
        match self.file.as_ref()? {
            CredentialFile::Auth(path) | CredentialFile::Token(path) => Some(path),
        }
    }

    /// What was there when it was read, each file as it was just before.
    pub fn seen(&self) -> &Snapshot {
        &self.seen
    }

    /// What is there now counts as read, even if it never is.
    pub fn saw(&mut self, seen: Snapshot) {
        self.seen = seen;
    }

    /// Reads who may call, and returns it with what is doubtful. Blocks.
    ///
    /// # Errors
    ///
    /// An unusable file. What is wrong inside an auth file is a
    /// [`LoadError`](crate::document::LoadError).
    pub fn load(&mut self) -> anyhow::Result<(Authenticator, Vec<Diagnostic>)> {
        let Some(file) = self.file.clone() else {
            return Ok((Authenticator::open(), Vec::new()));
        };
        match file {
            CredentialFile::Auth(path) => self.load_auth(&path),
            CredentialFile::Token(path) => {
                self.seen = Snapshot::of(&path);
                let (option, most) = ("--token-file", secret::MAX_SECRET_BYTES);
                let secret = read_secret(option, &path, self.around.permissions, most)?;
                let authenticator = Authenticator::single_token(&secret)
                    .with_context(|| format!("{option} {}", path.display()))?;
                Ok((authenticator, Vec::new()))
            }
        }
    }

    fn load_auth(&mut self, path: &Path) -> anyhow::Result<(Authenticator, Vec<Diagnostic>)> {
        let permissions = self.around.permissions;
        self.seen = Snapshot::of(path);
        let text = read_secret("--auth", path, permissions, MAX_AUTH_BYTES)?;
        let now = SystemTime::now();
        let loaded = Authenticator::auth_file(&text, path, &self.around, now);
        let inputs = match &loaded {
            Ok((authenticator, _)) => authenticator.inputs(),
            Err(error) => Some(error.inputs()),
        };
        self.seen.add(inputs.cloned().unwrap_or_default());
        Ok(loaded?)
    }
}
