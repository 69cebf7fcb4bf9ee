//! How files of a home are opened: whatever lies there is input.
//!
//! A regular file, no link in its place, and without waiting: opening a pipe would block.

use std::fs::{File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::Error;

/// Only for the user: a file may hold what a program was told.
const PRIVATE: u32 = 0o600;
const SHARED: u32 = 0o660;

/// Open a file that exists for reading.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    opened(path, OpenOptions::new().read(true))
}

/// Make a file that does not exist, for its user only, or in a shared home for the group.
pub(crate) fn create_new(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let file = opened(path, options.read(true).write(true).create_new(true))?;
    share(path, &file)?;
    Ok(file)
}

/// Open a file for reading and writing, or make it as `create_new` does.
pub(crate) fn open_or_create(path: &Path) -> Result<File, Error> {
    match create_new(path) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
            opened(path, OpenOptions::new().read(true).write(true))
        }
        result => result,
    }
}

fn opened(path: &Path, options: &mut OpenOptions) -> Result<File, Error> {
    let file = options
        .mode(PRIVATE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP | libc::ENXIO | libc::EISDIR) => Error::NotAFile(path.to_owned()),
            _ => Error::io(path, error),
        })?;
    let metadata = file.metadata().map_err(|error| Error::io(path, error))?;
    if !metadata.is_file() {
        return Err(Error::NotAFile(path.to_owned()));
    }
    Ok(file)
}

/// In a shared home the umask does not take the group's rights.
fn share(path: &Path, file: &File) -> Result<(), Error> {
    if std::env::var_os("RUNBUS_SHARED").is_some_and(|value| value == "group") {
        file.set_permissions(Permissions::from_mode(SHARED))
            .map_err(|error| Error::io(path, error))?;
    }
    Ok(())
}
