//! Removing a folder with whatever is in it.
//!
//! A tool can leave folders that nest thousands deep. To follow them down would take a descriptor
//! and a part of the stack for each, so each folder is moved up to the first one before its turn
//! comes.

use std::ffi::CStr;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

/// Removes a folder. Links in it are removed and not followed, and what its owner may not enter is
/// opened first.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let top = match open(fs::CWD, path) {
        Err(Errno::ACCESS) => {
            fs::chmod(path, Mode::RWXU)?;
            open(fs::CWD, path)?
        }
        opened => opened?,
    };
    fs::fchmod(&top, Mode::RWXU)?;
    let mut names = Names {
        // Nobody else's name begins with it.
        prefix: RandomState::new().hash_one(0),
        count: 0,
    };
    while clear(&top, &top, &mut names)? {}
    std::fs::remove_dir(path)
}

/// The names of folders that were moved up.
struct Names {
    prefix: u64,
    count: u64,
}

impl Names {
    fn next(&mut self) -> String {
        self.count += 1;
        format!("{:016x}-{}", self.prefix, self.count)
    }
}

/// Goes once through a folder, and returns whether there was something in it. Files go; folders in
/// the first one go with the files in them, and others are moved there.
fn clear(folder: &OwnedFd, top: &OwnedFd, names: &mut Names) -> rustix::io::Result<bool> {
    let is_top = std::ptr::eq(folder, top);
    let mut had_something = false;
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        had_something = true;
        match fs::unlinkat(folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) if is_top => flatten(top, name, names)?,
            Err(Errno::ISDIR) => {
                // To move a folder is to write its way up.
                fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
                fs::renameat(folder, name, top, names.next())?;
            }
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
    }
    Ok(had_something)
}

/// Removes a folder of the first one, once what it holds is gone or beside it.
fn flatten(top: &OwnedFd, name: &CStr, names: &mut Names) -> rustix::io::Result<()> {
    fs::chmodat(top, name, Mode::RWXU, AtFlags::empty())?;
    let folder = open(top, name)?;
    while clear(&folder, top, names)? {}
    fs::unlinkat(top, name, AtFlags::REMOVEDIR)
}

fn open(at: impl std::os::fd::AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(at, path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn folders_are_removed_however_deep_and_closed_they_are() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("call");
        std::fs::create_dir(&path).unwrap();
        // A path has 4096 bytes at most, and so each step starts where the last one ended.
        let mut folder = open(fs::CWD, &path).unwrap();
        for _ in 0..3000 {
            fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
            let deeper = open(&folder, "d").unwrap();
            fs::fchmod(&folder, Mode::empty()).unwrap();
            folder = deeper;
        }
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let kept = parent.path().join("kept");
        std::fs::write(&kept, "text").unwrap();
        let path = parent.path().join("call");
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        symlink(&kept, path.join("link")).unwrap();
        symlink(parent.path(), path.join("a/b/up")).unwrap();
        std::fs::write(path.join("a/file"), "text").unwrap();
        let closed = std::fs::Permissions::from_mode(0o000);
        std::fs::set_permissions(path.join("a/b"), closed).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists() && kept.exists());
    }
}
