//! Whether others could add a key to a file (sshd_config(5), StrictModes).

use std::path::Path;

use crate::error::Result;
#[cfg(unix)]
use crate::error::{Error, Kind, plain};

#[cfg(unix)]
pub(super) fn check(file: &Path) -> Result<()> {
    let real = file.canonicalize().map_err(unreadable)?;
    let written = match file.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Some(Path::new(".")),
        folder => folder,
    };
    check_one(&real, "the file")?;
    // A link is as safe as its folder and the one it leads to.
    for folder in written.into_iter().chain(real.parent()) {
        check_one(folder, "its folder")?;
    }
    Ok(())
}

#[cfg(unix)]
fn check_one(path: &Path, what: &str) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let meta = path.metadata().map_err(unreadable)?;
    let refused = |why: String| Error::new(Kind::Usage, why);
    let me = rustix::process::getuid().as_raw();
    if meta.uid() != 0 && meta.uid() != me {
        return Err(refused(format!("{what} belongs to somebody else")));
    }
    // In a folder with the sticky bit nobody can replace a file of ours.
    let is_sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
    match meta.mode() & 0o022 != 0 && !is_sticky {
        true => Err(refused(format!("others can write {what}"))
            .hint(format_args!("chmod go-w {}", path.display()))),
        false => Ok(()),
    }
}

#[cfg(unix)]
fn unreadable(error: std::io::Error) -> Error {
    Error::new(Kind::Usage, plain(&error))
}

#[cfg(not(unix))]
pub(super) fn check(_: &Path) -> Result<()> {
    Ok(())
}
