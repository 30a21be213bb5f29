//! One line of a known_hosts file.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::KnownKey;
use crate::ssh::{Place, pattern};

/// A key and the hosts it speaks of.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) marker: Marker,
    pub(super) names: Names,
    pub(super) algorithm: String,
    /// The key as it goes over the wire. It is compared as such, so that a host whose key is of a
    /// type we know nothing of is a known host all the same.
    pub(super) blob: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    None,
    Authority,
    Revoked,
}

#[derive(Debug)]
pub(super) enum Names {
    /// Patterns between commas, lower case.
    Patterns(String),
    /// A name that only who knows it can recognise.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl Entry {
    /// Parses a line that is neither empty nor a comment.
    pub(super) fn parse(line: &str, place: Place) -> Result<Self, String> {
        let mut fields = line.split_ascii_whitespace();
        let mut next = || fields.next().ok_or("a line is written [MARKER] HOSTS TYPE KEY");
        let mut names = next()?;
        let marker = match names {
            "@cert-authority" => Marker::Authority,
            "@revoked" => Marker::Revoked,
            marker if marker.starts_with('@') => return Err(format!("unknown marker {marker}")),
            _ => Marker::None,
        };
        if marker != Marker::None {
            names = next()?;
        }
        let (algorithm, key) = (next()?, next()?);
        let blob = STANDARD.decode(key).map_err(|_| "the key is not base64")?;
        // The blob begins with the length and the name of the type.
        let said = blob.get(4..4 + algorithm.len());
        if said != Some(algorithm.as_bytes()) {
            return Err(format!("the key is not of type {algorithm}"));
        }
        let algorithm = algorithm.to_owned();
        Ok(Self { place, marker, names: Names::parse(names)?, algorithm, blob })
    }

    pub(super) fn known_key(&self) -> KnownKey {
        let hash = digest(&SHA256, &self.blob);
        KnownKey {
            place: self.place.clone(),
            algorithm: self.algorithm.clone(),
            fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(hash)),
        }
    }
}

impl Names {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(hashed) = text.strip_prefix('|') else {
            return Ok(Self::Patterns(text.to_lowercase()));
        };
        let decode = |text| STANDARD.decode(text).ok();
        let parts = hashed.strip_prefix("1|").and_then(|it| it.split_once('|'));
        parts
            .and_then(|(salt, hash)| {
                Some(Self::Hashed { salt: decode(salt)?, hash: decode(hash)? })
            })
            .ok_or_else(|| "the hashed name is not |1|SALT|HASH".into())
    }

    /// A name, hashed with a salt of its own.
    pub(super) fn hashed(name: &str, salt: [u8; 20]) -> String {
        let hash = hmac::sign(&key(&salt), name.as_bytes());
        format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash))
    }

    pub(super) fn match_name(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => pattern::list_matches(patterns, name),
            Self::Hashed { salt, hash } => hmac::verify(&key(salt), name.as_bytes(), hash).is_ok(),
        }
    }
}

/// The format fixes SHA-1; it hides names, nothing is signed with it.
fn key(salt: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt)
}
