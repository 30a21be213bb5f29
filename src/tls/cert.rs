//! What a certificate says, in words.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cli::value::Pin;

/// The names, the issuer and the dates of a certificate.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) subject: String,
    pub(super) issuer: String,
    /// The hosts it is for, as its subjectAltName has them.
    pub(super) names: Vec<String>,
    /// As people count it, 3 since 1996.
    pub(super) version: u32,
    /// In seconds since 1970.
    pub(super) not_before: i64,
    /// In seconds since 1970.
    pub(super) not_after: i64,
}

impl Summary {
    /// Reads a certificate; none if it is not one.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        let names = cert.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|extension| &extension.value.general_names);
        Some(Self {
            subject: cert.subject().to_string(),
            issuer: cert.issuer().to_string(),
            names: names.filter_map(host).collect(),
            version: cert.version().0.saturating_add(1),
            not_before: cert.validity().not_before.timestamp(),
            not_after: cert.validity().not_after.timestamp(),
        })
    }

    /// Whether it is signed by its own key, as far as its names tell.
    pub(super) fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

/// The key of a certificate.
pub(super) fn public_key(der: &[u8]) -> Option<SubjectPublicKeyInfoDer<'_>> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    Some(cert.tbs_certificate.subject_pki.raw.into())
}

/// The SHA-256 of a certificate, as `--pin` takes it.
pub(super) fn fingerprint(der: &[u8]) -> Pin {
    let mut pin = [0; 32];
    pin.copy_from_slice(digest(&SHA256, der).as_ref());
    Pin(pin)
}

/// A day as `3 March 2026`, in UTC.
pub(super) fn day(seconds: i64) -> String {
    let format = format_description!("[day padding:none] [month repr:long] [year]");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| "a day beyond the calendar".to_owned())
}

/// A length of time in its largest unit, as `17 days`.
pub(super) fn span(seconds: i64) -> String {
    let (count, unit) = match seconds.unsigned_abs() {
        s @ 0..60 => (s, "second"),
        s @ 60..3600 => (s / 60, "minute"),
        s @ 3600..86400 => (s / 3600, "hour"),
        s => (s / 86400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Now, in seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match **bytes {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d]).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|ip| IpAddr::from(ip).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_spans_read_like_speech() {
        assert_eq!(day(1_772_496_000), "3 March 2026");
        assert_eq!(day(i64::MAX), "a day beyond the calendar");
        for (seconds, want) in
            [(1, "1 second"), (-59, "59 seconds"), (7300, "2 hours"), (17 * 86400 + 5, "17 days")]
        {
            assert_eq!(span(seconds), want);
        }
    }

    #[test]
    fn a_certificate_says_whom_it_is_for() {
        let names = ["a.example".to_owned(), "::1".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        let summary = Summary::of(made.cert.der()).unwrap();
        assert_eq!(summary.names, names);
        assert!(summary.is_self_signed());
        assert!(summary.not_before < now() && now() < summary.not_after);
        assert!(Summary::of(b"not a certificate").is_none());
    }
}
