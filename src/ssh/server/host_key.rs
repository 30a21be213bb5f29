//! The keys by which clients know the server.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{Algorithm, PrivateKey};

use crate::error::{Error, Kind, Result, plain};
use crate::ssh::certificate::check_strength;
use crate::ssh::keyfile;

/// Reads a key that a flag names.
///
/// # Errors
/// [`Kind::Usage`], [`Kind::Auth`] if others can read it.
pub(super) fn read(file: &Path) -> Result<PrivateKey> {
    let text = keyfile::read(file)?;
    let key = keyfile::decode(&text, None).map_err(|error| keyfile::unusable(file, &error))?;
    let known = |it: &Algorithm| {
        *it == key.algorithm() || (it.clone().is_rsa() && key.algorithm().is_rsa())
    };
    let refused = |why: String| Error::new(Kind::Usage, why).at(file.display());
    if !crate::ssh::key_algorithms().iter().any(known) {
        return Err(refused(format!("{} is no type for a host key", key.algorithm())));
    }
    check_strength(key.public_key().key_data()).map_err(refused)?;
    Ok(key)
}

/// The key of this user's servers, made when it is first needed.
///
/// # Errors
/// [`Kind::Local`] if it cannot be written.
pub(super) fn own() -> Result<PrivateKey> {
    let folder = folder()?;
    let file = folder.join("ssh_host_ed25519_key");
    if !file.exists() {
        make(&folder, &file).map_err(|error| {
            let what = format!("cannot make a host key: {}", plain(&error));
            Error::new(Kind::Local, what).at(file.display()).hint("see --host-key")
        })?;
    }
    read(&file)
}

fn folder() -> Result<PathBuf> {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = variable("XDG_STATE_HOME")
        .or_else(|| env::home_dir().map(|home| home.join(".local/state")))
        .ok_or_else(|| Error::new(Kind::Usage, "there is no home for a host key"))?;
    Ok(state.join("towline"))
}

fn make(folder: &Path, file: &Path) -> io::Result<()> {
    let mut seed = [0; 32];
    rand::fill(&mut seed).map_err(|_| io::Error::other("no random numbers"))?;
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    let text = PrivateKey::new(pair, "towline")
        .and_then(|key| key.to_openssh(LineEnding::LF))
        .map_err(io::Error::other)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Never a moment in which the key is there and not whole. Of two that start at once, the
    // first wins.
    let draft = folder.join(format!(".ssh_host_ed25519_key.{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let linked = written.and_then(|mut written| {
        written.write_all(text.as_bytes())?;
        written.sync_all()?;
        match fs::hard_link(&draft, file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    });
    let _ = fs::remove_file(&draft);
    linked
}
