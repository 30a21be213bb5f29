//! Whether others could add a key to a file (sshd_config(5), StrictModes).

use std::path::Path;

#[cfg(unix)]
pub(super) fn check(file: &Path) -> Result<(), String> {
    let folder = match file.canonicalize() {
        // Where it really is: a link is as safe as the folder that it leads to, and its own.
        Ok(real) => real.parent().map(Path::to_owned),
        Err(error) => return Err(crate::error::plain(&error)),
    };
    check_one(file, "the file")?;
    let own = file.parent().map(|it| if it.as_os_str().is_empty() { Path::new(".") } else { it });
    for folder in own.into_iter().chain(folder.as_deref()) {
        check_one(folder, "its folder")?;
    }
    Ok(())
}

#[cfg(unix)]
fn check_one(path: &Path, what: &str) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let meta = path.metadata().map_err(|error| crate::error::plain(&error))?;
    let me = rustix::process::getuid().as_raw();
    if meta.uid() != 0 && meta.uid() != me {
        return Err(format!("{what} belongs to somebody else"));
    }
    // In a folder with the sticky bit nobody can replace a file of ours.
    let is_sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
    match meta.mode() & 0o022 != 0 && !is_sticky {
        true => Err(format!("others can write {what}")),
        false => Ok(()),
    }
}

#[cfg(not(unix))]
pub(super) fn check(_: &Path) -> Result<(), String> {
    Ok(())
}
