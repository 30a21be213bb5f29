//! Keys for P-256 whose secret number is short.
//!
//! OpenSSH writes that number without its leading zero bytes, as an `mpint` ([RFC 5656], section
//! 3.1.2, and OpenSSH's PROTOCOL.key). One key in 256 has such a byte, and the SSH library refuses
//! it for its length.
//!
//! [RFC 5656]: https://www.rfc-editor.org/rfc/rfc5656

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use russh::keys::PrivateKey;
use russh::keys::ssh_encoding::{Decode, Encode};
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{Cipher, Kdf};
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"openssh-key-v1\0";
/// The length of the secret number, in bytes.
const SCALAR: usize = 32;

/// Reads such a key, or says None if this is another one, or is locked otherwise.
pub(super) fn decode(text: &str, passphrase: Option<&str>) -> Option<PrivateKey> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let body = Zeroizing::new(lines.collect::<String>());
    let file = Zeroizing::new(BASE64_STANDARD.decode(body.as_bytes()).ok()?);
    let mut reader = file.strip_prefix(MAGIC)?;
    let reader = &mut reader;
    let cipher = Cipher::decode(reader).ok()?;
    let kdf = Kdf::decode(reader).ok()?;
    let _count = u32::decode(reader).ok()?;
    let _public = Vec::<u8>::decode(reader).ok()?;
    let mut secret = Zeroizing::new(Vec::<u8>::decode(reader).ok()?);
    if cipher.is_some() {
        let (key, iv) = kdf.derive_key_and_iv(cipher, passphrase?).ok()?;
        cipher.decrypt(&key, &iv, &mut secret, None).ok()?;
    }
    from_secret(&secret)
}

/// Reads what the passphrase protects: two numbers that are equal, the key, a comment.
fn from_secret(mut secret: &[u8]) -> Option<PrivateKey> {
    let secret = &mut secret;
    if u32::decode(secret).ok()? != u32::decode(secret).ok()? {
        return None;
    }
    let mut whole = Zeroizing::new(Vec::new());
    for _ in ["type", "curve", "public point"] {
        Vec::<u8>::decode(secret).ok()?.encode(&mut *whole).ok()?;
    }
    let short = Zeroizing::new(Vec::<u8>::decode(secret).ok()?);
    let mut scalar = Zeroizing::new([0; SCALAR]);
    scalar[SCALAR.checked_sub(short.len())?..].copy_from_slice(&short);
    scalar.as_slice().encode(&mut *whole).ok()?;
    let key = KeypairData::decode(&mut whole.as_slice()).ok()?;
    PrivateKey::new(key, String::decode(secret).ok()?).ok()
}
