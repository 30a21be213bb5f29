//! Failures of TLS in words that say what to do.

use std::io;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{AlertDescription, Error as TlsError, PeerIncompatible};

use super::verdict::verdict;
use crate::error::{Error, Kind, plain};

/// What a client has asked for.
pub(super) struct Asked<'a> {
    pub(super) name: &'a str,
    pub(super) alpn: &'a [Vec<u8>],
    /// Whether it has a certificate of its own.
    pub(super) certified: bool,
}

/// Why a client's handshake failed; `said` is how the peer began.
pub(super) fn connecting(
    error: io::Error,
    asked: &Asked<'_>,
    shown: &[CertificateDer<'_>],
    said: &[u8],
) -> Error {
    const LOGIN: &str = "--client-cert FILE --client-key FILE";
    match tls(&error) {
        Some(TlsError::InvalidCertificate(why)) => verdict(why, asked.name, shown),
        Some(TlsError::AlertReceived(alert)) => match alert {
            AlertDescription::UnrecognisedName => {
                let what = format!("peer has no certificate for {}", asked.name);
                Error::new(Kind::Tls, what).hint("--sni NAME asks for another name")
            }
            AlertDescription::NoApplicationProtocol => {
                let what = format!("peer speaks none of our protocols: {}", protocols(asked.alpn));
                Error::new(Kind::Tls, what).hint(match asked.alpn {
                    [only] if only == b"h2" => "it has no HTTP/2; leave out --http2",
                    _ => "--alpn PROTO offers others",
                })
            }
            AlertDescription::HandshakeFailure | AlertDescription::BadCertificate
                if !asked.certified =>
            {
                refusal(*alert).hint(format!("it may want a certificate from us: {LOGIN}"))
            }
            alert => refusal(*alert),
        },
        Some(TlsError::InvalidMessage(_)) if is_plain(said) => {
            Error::new(Kind::Tls, format!("peer does not speak TLS; it says {}", quote(said)))
                .hint("is this the right port?")
        }
        _ => handshake(error),
    }
}

/// Why a server's handshake failed; `said` is how the peer began.
pub(super) fn accepting(error: io::Error, shown: &[CertificateDer<'_>], said: &[u8]) -> Error {
    match tls(&error) {
        Some(TlsError::InvalidCertificate(why)) => verdict(why, "the peer", shown),
        Some(TlsError::NoCertificatesPresented) => {
            Error::new(Kind::Tls, "peer has shown no certificate, which --client-ca asks for")
        }
        Some(TlsError::InvalidMessage(_)) if is_plain(said) => {
            Error::new(Kind::Tls, format!("peer does not speak TLS; it says {}", quote(said)))
        }
        _ => handshake(error),
    }
}

/// What is the same for both roles.
fn handshake(error: io::Error) -> Error {
    let what = match tls(&error) {
        Some(TlsError::AlertReceived(alert)) => return refusal(*alert),
        Some(TlsError::NoApplicationProtocol) => "no application protocol in common".to_owned(),
        Some(TlsError::PeerIncompatible(why)) => match why {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => OLD.to_owned(),
            _ => format!("nothing in common with the peer: {}", spaced(&format!("{why:?}"))),
        },
        Some(error) => format!("handshake failed: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "peer closed the connection during the TLS handshake".to_owned()
        }
        None if error.get_ref().is_some() => return Error::from_io(error, Kind::Tls),
        None => format!("TLS handshake failed: {}", plain(&error)),
    };
    Error::new(Kind::Tls, what)
}

const OLD: &str = "peer speaks neither TLS 1.2 nor TLS 1.3";

/// The alert with which the peer ended the connection.
fn refusal(alert: AlertDescription) -> Error {
    use AlertDescription as Alert;
    let name = spaced(&format!("{alert:?}"));
    let what = match alert {
        Alert::CertificateRequired => "peer wants a certificate from us".to_owned(),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => format!("peer does not accept our certificate: {name}"),
        Alert::ProtocolVersion => OLD.to_owned(),
        _ => format!("peer ended TLS with an alert: {name}"),
    };
    let error = Error::new(Kind::Tls, what);
    match alert {
        Alert::CertificateRequired => error.hint("--client-cert FILE --client-key FILE"),
        _ => error,
    }
}

/// An error of the established connection, such that its kind survives the way through [`io`].
pub(super) fn broken(error: io::Error) -> io::Error {
    match tls(&error) {
        Some(TlsError::AlertReceived(alert)) => refusal(*alert).into(),
        Some(what) => Error::new(Kind::Tls, format!("TLS connection broken: {what}")).into(),
        // RFC 8446 section 6.1: without close_notify, the end may be an attacker's.
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            let what = "connection lost: it ended without a TLS close_notify";
            Error::new(Kind::Lost, what).into()
        }
        None => error,
    }
}

/// Whether it is TLS that failed, not the stream below.
pub(super) fn is_tls(error: &io::Error) -> bool {
    tls(error).is_some()
}

/// The same error once more, if it is TLS that failed.
pub(super) fn copy(error: &io::Error) -> Option<io::Error> {
    tls(error).map(|what| io::Error::new(error.kind(), what.clone()))
}

fn tls(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Whether the peer talks text. Then its words help more than ours.
fn is_plain(said: &[u8]) -> bool {
    said.first().is_some_and(|first| first.is_ascii_graphic())
}

/// The first line, if it is text.
fn quote(said: &[u8]) -> String {
    let line = said.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    format!("`{}`", String::from_utf8_lossy(line))
}

fn protocols(alpn: &[Vec<u8>]) -> String {
    let names = alpn.iter().map(|name| String::from_utf8_lossy(name));
    names.collect::<Vec<_>>().join(", ")
}

/// `UnknownCA`, as rustls writes it, in words: `unknown ca`.
pub(super) fn spaced(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 4);
    let mut after_lower = false;
    for c in camel.chars() {
        if c.is_uppercase() && after_lower {
            out.push(' ');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_read_as_words() {
        assert_eq!(spaced("UnknownCA"), "unknown ca");
        assert_eq!(spaced("BadRecordMac"), "bad record mac");
        assert_eq!(spaced("Tls12NotOffered"), "tls12 not offered");
    }

    #[test]
    fn a_peer_that_speaks_something_else_is_quoted() {
        assert!(is_plain(b"HTTP/1.1 400"));
        assert!(!is_plain(b"\x15\x03\x03"));
        assert_eq!(quote(b"SSH-2.0-OpenSSH_9.9\r\nmore"), "`SSH-2.0-OpenSSH_9.9`");
    }
}
