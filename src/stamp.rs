//! Whether a file is still the one that was read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What changes when a file does: its device and inode (it may be replaced by one of the same age),
/// time and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

impl Stamp {
    /// Of a file, if there is one.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = path.metadata().ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            seconds: file.mtime(),
            nanoseconds: file.mtime_nsec(),
            size: file.size(),
        })
    }
}
