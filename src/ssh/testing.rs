//! Keys and certificates for the tests.

use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{Certificate, PrivateKey, PublicKey};

/// 1024 bits.
pub(super) const SHORT_RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCg6yOH91f0Lk0xe2U2VGtcDEaq5yV6KtJODp2Ysx83HvptayBZ1e0W5c4/jVPvWZAwL0mEYWCD49MN70gqQAl7h9QAq9vSCsAYBOChwFjOcq11vXa8c9hwbwWhD2ooOa8d5SpCq2bLFyb4v5xb0xKWsDNrtkff9TsSHdg5OC5DhQ==";

/// The same key for the same number.
pub(super) fn private(seed: u8) -> PrivateKey {
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap()
}

pub(super) fn key(seed: u8) -> PublicKey {
    private(seed).public_key().clone()
}

/// A key as a line of a file, without its comment.
pub(super) fn line(seed: u8) -> String {
    key(seed).to_openssh().unwrap().trim_end().to_owned()
}

/// A certificate for key 1 by the authority of key 9, valid from 1000 to 2000.
pub(super) fn certificate(
    cert_type: CertType,
    names: &[&str],
    more: impl FnOnce(&mut Builder),
) -> Certificate {
    let mut builder = Builder::new([7; 16], key(1).key_data().clone(), 1000, 2000).unwrap();
    builder.cert_type(cert_type).unwrap();
    for name in names {
        builder.valid_principal(*name).unwrap();
    }
    more(&mut builder);
    builder.sign(&private(9)).unwrap()
}
