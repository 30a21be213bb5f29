//! Who and where we are.

use std::fs;
use std::path::{Path, PathBuf};

/// This machine and this user, as far as a configuration can refer to them.
#[derive(Clone, Debug)]
pub struct Local {
    /// The home directory.
    pub home: PathBuf,
    /// The login name.
    pub user: String,
    /// The number of the user.
    pub uid: u32,
    /// The name of the machine.
    pub hostname: String,
    /// The environment.
    pub env: fn(&str) -> Option<String>,
}

impl Local {
    /// Asks the system.
    pub fn here() -> Self {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let uid = uid();
        let entry = passwd(|fields| fields.get(2) == Some(&uid.to_string().as_str()));
        let (name, home) = entry.unzip();
        Self {
            home: env("HOME").or(home).unwrap_or_else(|| "/".into()).into(),
            // A directory service may know users that the file does not.
            user: name.or_else(|| env("LOGNAME")).or_else(|| env("USER")).unwrap_or_default(),
            uid,
            hostname: hostname(),
            env,
        }
    }

    /// Expands `~/` and `~user/`.
    pub(super) fn expand_tilde(&self, path: &str) -> Result<String, String> {
        let Some(rest) = path.strip_prefix('~') else {
            return Ok(path.to_owned());
        };
        let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let home = match user {
            "" => self.home.clone(),
            user => passwd(|fields| fields.first() == Some(&user))
                .map(|(_, home)| home.into())
                .ok_or_else(|| format!("`{path}`: there is no user {user}"))?,
        };
        Ok(home.join(rest).display().to_string())
    }

    /// Whether nobody but root and us can change a file.
    #[cfg(unix)]
    pub(super) fn owns(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        path.metadata().is_ok_and(|meta| {
            (meta.uid() == 0 || meta.uid() == self.uid) && meta.mode() & 0o022 == 0
        })
    }

    #[cfg(not(unix))]
    pub(super) fn owns(&self, _: &Path) -> bool {
        true
    }
}

/// The name and the home of the first user of whom this is true.
fn passwd(is_wanted: impl Fn(&[&str]) -> bool) -> Option<(String, String)> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let home = fields.get(5).filter(|_| is_wanted(&fields))?;
        Some((fields[0].to_owned(), (*home).to_owned()))
    })
}

#[cfg(unix)]
fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

#[cfg(unix)]
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn uid() -> u32 {
    0
}

#[cfg(not(unix))]
fn hostname() -> String {
    String::new()
}
