//! Files with secrets: private keys, passwords, passphrases.

mod short_scalar;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use russh::keys::{PrivateKey, decode_secret_key};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result, plain};

/// A longer file is no key, in bytes.
const LONGEST: u64 = 1 << 20;

/// Reads a private key that nobody else can read.
///
/// # Errors
/// [`Kind::Usage`] if it is not there, [`Kind::Auth`] if others can read it.
pub(super) fn read(file: &Path) -> Result<Zeroizing<String>> {
    let unreadable = |error: io::Error| {
        Error::new(Kind::Usage, format!("cannot read the key: {}", plain(&error)))
            .at(file.display())
    };
    let opened = File::open(file).map_err(unreadable)?;
    let about = opened.metadata().map_err(unreadable)?;
    let mode = about.permissions().mode() & 0o777;
    let ours = rustix::process::getuid().as_raw();
    if mode & 0o077 != 0 && about.uid() == ours {
        return Err(Error::new(Kind::Auth, format!("others can use this key (mode {mode:04o})"))
            .at(file.display())
            .hint(format_args!("chmod 600 {}", file.display())));
    }
    let mut text = Zeroizing::new(String::new());
    opened.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// Reads the text of a private key.
///
/// # Errors
/// `KeyIsEncrypted` if it takes a passphrase; see [`unusable`] for the rest.
pub(super) fn decode(
    text: &str,
    passphrase: Option<&str>,
) -> std::result::Result<PrivateKey, russh::keys::Error> {
    decode_secret_key(text, passphrase)
        .or_else(|error| short_scalar::decode(text, passphrase).ok_or(error))
}

/// The first line of a file with a password or passphrase.
///
/// # Errors
/// [`Kind::Usage`], naming the flag.
pub(super) fn secret(flag: &str, file: &Path) -> Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
        let what = format!("cannot read {}: {}", file.display(), plain(&error));
        Error::new(Kind::Usage, what).at(flag)
    })?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// What is wrong with a key file, in one line.
pub(super) fn unusable(file: &Path, error: &russh::keys::Error) -> Error {
    let what = match error {
        russh::keys::Error::CouldNotReadKey => "this is not a private key".to_owned(),
        other => format!("the key cannot be used: {other}"),
    };
    Error::new(Kind::Usage, what).at(file.display())
}
