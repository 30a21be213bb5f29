//! SSH keys, the same for the same number.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{Certificate, HashAlg, PrivateKey};

pub(crate) fn key(number: u8) -> PrivateKey {
    let pair = Ed25519Keypair::from_seed(&[number; 32]);
    PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap()
}

/// The public half, as it stands in a file.
pub(crate) fn public(number: u8) -> String {
    key(number).public_key().to_openssh().unwrap().trim_end().to_owned()
}

pub(crate) fn fingerprint(number: u8) -> String {
    key(number).fingerprint(HashAlg::Sha256).to_string()
}

/// Writes the private half to a file that nobody else can read.
pub(crate) fn write(number: u8, dir: &Path) -> PathBuf {
    let file = dir.join(format!("key{number}"));
    let text = key(number).to_openssh(LineEnding::LF).unwrap();
    let mut options = OpenOptions::new();
    let mut opened =
        options.write(true).create(true).truncate(true).mode(0o600).open(&file).unwrap();
    opened.write_all(text.as_bytes()).unwrap();
    file
}

/// Certifies a key for a user, by the authority of another key, for some years from now.
pub(crate) fn certify(number: u8, authority: u8, user: &str) -> Certificate {
    let key = key(number);
    let public = key.public_key().key_data().clone();
    let mut builder = Builder::new([7; 16], public, 1_000_000_000, 4_000_000_000).unwrap();
    builder.cert_type(CertType::User).unwrap();
    builder.valid_principal(user).unwrap();
    builder.sign(&self::key(authority)).unwrap()
}

/// Writes a file with these lines in place of another, at once.
pub(crate) fn replace(file: &Path, lines: &[String]) {
    let draft = file.with_extension("new");
    fs::write(&draft, lines.concat()).unwrap();
    fs::rename(&draft, file).unwrap();
}
