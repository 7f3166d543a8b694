//! What one sandbox lets through, and how the step is told: as words before those of the program.
//!
//! Every word of a policy has a `=`, so none is the `--` that ends them, and nothing behind that is
//! looked at. The words can be seen by every user of the machine and hold no secret.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// What a sandbox lets through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Absolute paths of files, and of folders with all that is below them.
    pub(crate) read: Vec<PathBuf>,
    /// The same; they can be read too.
    pub(crate) write: Vec<PathBuf>,
    pub(crate) net: Net,
    pub(crate) limits: Limits,
}

/// Which sockets can be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Net {
    /// None at all.
    #[default]
    None,
    /// Those of this machine that have a path.
    Unix,
    /// All.
    Allowed,
}

impl Net {
    /// How a definition says it.
    pub(crate) const NAMES: &[(&str, Self)] = &[
        ("none", Self::None),
        ("unix", Self::Unix),
        ("allowed", Self::Allowed),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unix => "unix",
            Self::Allowed => "allowed",
        }
    }
}

/// What each process in a sandbox can use; `None` is as much as the server may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Processor time in seconds.
    pub(crate) cpu: Option<u64>,
    /// Address space in bytes.
    pub(crate) memory: Option<u64>,
    /// Processes and threads, besides those that the user of the server has when the tool starts.
    pub(crate) processes: Option<u64>,
    /// The size of a file that is written, in bytes; default 1 GiB.
    pub(crate) fsize: u64,
    /// Open descriptors; default 256.
    pub(crate) files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: None,
            memory: None,
            processes: None,
            fsize: 1 << 30,
            files: 256,
        }
    }
}

impl Policy {
    /// The words that say all of it.
    pub(super) fn words(&self) -> Vec<OsString> {
        let Limits {
            cpu,
            memory,
            processes,
            fsize,
            files,
        } = self.limits;
        let numbers = [
            ("cpu", cpu),
            ("memory", memory),
            ("processes", processes),
            ("fsize", Some(fsize)),
            ("files", Some(files)),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(key, number)| Some(word(key, number?.to_string().as_ref())));
        let paths = |key, paths: &[PathBuf]| -> Vec<OsString> {
            (paths.iter().map(|path| word(key, path.as_os_str()))).collect()
        };
        std::iter::once(word("net", self.net.name().as_ref()))
            .chain(numbers)
            .chain(paths("read", &self.read))
            .chain(paths("write", &self.write))
            .collect()
    }

    /// Takes in one word; returns whether it is understood.
    pub(super) fn take(&mut self, key: &[u8], value: &OsStr) -> bool {
        let number = || value.to_str().and_then(|text| text.parse::<u64>().ok());
        match key {
            b"read" => self.read.push(value.into()),
            b"write" => self.write.push(value.into()),
            b"net" => {
                let net = Net::NAMES.iter().find(|(name, _)| *name == value);
                let Some((_, net)) = net else { return false };
                self.net = *net;
            }
            _ => {
                let Some(number) = number() else { return false };
                match key {
                    b"cpu" => self.limits.cpu = Some(number),
                    b"memory" => self.limits.memory = Some(number),
                    b"processes" => self.limits.processes = Some(number),
                    b"fsize" => self.limits.fsize = number,
                    b"files" => self.limits.files = number,
                    _ => return false,
                }
            }
        }
        true
    }
}

/// A word of a policy.
pub(super) fn word(key: &str, value: &OsStr) -> OsString {
    let mut word = format!("{key}=").into_bytes();
    word.extend(value.as_bytes());
    OsString::from_vec(word)
}

/// The key and value of a word; `None` for what is no word of a policy.
pub(super) fn split(word: &OsStr) -> Option<(&[u8], &OsStr)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let (key, value) = bytes.split_at_checked(at)?;
    Some((key, OsStr::from_bytes(value.get(1..)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_back_from_its_words() {
        let policies = [
            Policy::default(),
            Policy {
                read: vec!["/a b".into(), "/=".into()],
                write: vec![OsString::from_vec(b"/\xff\n--".to_vec()).into()],
                net: Net::Allowed,
                limits: Limits {
                    cpu: Some(1),
                    memory: Some(u64::MAX),
                    processes: Some(3),
                    fsize: 4,
                    files: 5,
                },
            },
        ];
        for policy in policies {
            let words = policy.words();
            let mut read = Policy::default();
            for word in &words {
                let (key, value) = split(word).unwrap();
                assert!(read.take(key, value), "{word:?}");
            }
            assert_eq!(read, policy);
        }
    }

    #[test]
    fn what_is_not_understood_is_no_policy() {
        for word in ["--", "", "cpu", "run"] {
            assert_eq!(split(OsStr::new(word)), None, "{word}");
        }
        for word in ["=", "cpu=", "cpu=-1", "cpu=1s", "net=lan", "reed=/a"] {
            let (key, value) = split(OsStr::new(word)).unwrap();
            assert!(!Policy::default().take(key, value), "{word}");
        }
    }
}
