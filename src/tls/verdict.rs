//! Why a certificate is not accepted: whose it is, what is wrong, since when.

use tokio_rustls::rustls::CertificateError;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::cert::{Summary, day, fingerprint, span};
use super::explain::spaced;
use crate::error::{Error, Kind};

/// Puts the refusal of the chain that `name` has shown into words.
pub(super) fn verdict(why: &CertificateError, name: &str, shown: &[CertificateDer<'_>]) -> Error {
    let error = |what: String| Error::new(Kind::Tls, what);
    let chain: Vec<Summary> = shown.iter().map_while(|cert| Summary::of(cert)).collect();
    let pin = match shown.first() {
        Some(leaf) => format!("--pin {}", fingerprint(leaf)),
        None => "--pin".to_owned(),
    };
    match why {
        CertificateError::ExpiredContext { time, not_after } => {
            let (time, until) = (time.as_secs().cast_signed(), not_after.as_secs().cast_signed());
            let whose = whose(name, &chain, |cert| cert.not_after == until);
            let ago = span(time - until);
            error(format!("{whose} expired on {} ({ago} ago)", day(until)))
                .hint(format!("{pin} accepts it all the same"))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let (time, from) = (time.as_secs().cast_signed(), not_before.as_secs().cast_signed());
            let whose = whose(name, &chain, |cert| cert.not_before == from);
            let ahead = span(from - time);
            error(format!("{whose} is not valid before {} (in {ahead})", day(from)))
                .hint("is the clock of this machine right?")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = chain.first().map_or(&[][..], |leaf| &leaf.names);
            let what = match names.is_empty() {
                true => format!("certificate names no host, so it is not for {name}"),
                false => format!("certificate is for {}, not {name}", list(names)),
            };
            error(what).hint(format!("--sni NAME checks another name, {pin} accepts this one"))
        }
        // webpki knows version 3 alone, the one that names hosts.
        CertificateError::Other(_) | CertificateError::BadEncoding
            if chain.first().is_some_and(|leaf| leaf.version < 3) =>
        {
            let version = chain[0].version;
            error(format!(
                "certificate of {name} is X.509 version {version}, which cannot be checked"
            ))
            .hint(format!("{pin} accepts it over TLS 1.3; `openssl req -x509` makes version 3"))
        }
        CertificateError::UnknownIssuer => error(untrusted(&chain)).hint(trusting(&pin)),
        // What `openssl req -x509` makes; that it says it is an authority is not the point.
        CertificateError::Other(_) if chain.first().is_some_and(Summary::is_self_signed) => {
            error(untrusted(&chain)).hint(trusting(&pin))
        }
        CertificateError::BadSignature => {
            let issuer = chain.first().map_or("its issuer", |leaf| &leaf.issuer);
            error(format!("certificate of {name} was not signed by the key of {issuer}"))
        }
        // The verifier of `--pin` says this, and nothing else does.
        CertificateError::ApplicationVerificationFailure => {
            let seen = shown.first().map(|leaf| fingerprint(leaf).to_string()).unwrap_or_default();
            error(format!("certificate of {name} does not match --pin: it is {seen}"))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            error(format!("certificate of {name} is made for another purpose (extended key usage)"))
        }
        CertificateError::Other(why) => {
            error(format!("certificate of {name} is not acceptable: {}", spaced(&why.to_string())))
        }
        other => error(format!(
            "certificate of {name} is not acceptable: {}",
            spaced(&format!("{other:?}"))
        )),
    }
}

fn whose(name: &str, chain: &[Summary], is_it: impl Fn(&Summary) -> bool) -> String {
    match chain.iter().position(is_it) {
        Some(at) if at > 0 => format!("certificate of the authority {}", chain[at].subject),
        _ => format!("certificate of {name}"),
    }
}

/// Says which authority it is that is not trusted: the last one that the chain leads to.
fn untrusted(chain: &[Summary]) -> String {
    let Some(mut last) = chain.first() else {
        return "certificate is signed by an authority that is not trusted".to_owned();
    };
    if last.is_self_signed() {
        return format!("certificate is self-signed and not trusted: {}", last.subject);
    }
    for next in &chain[1..] {
        if next.subject == last.issuer {
            last = next;
        }
    }
    format!("certificate is signed by an authority that is not trusted: {}", last.issuer)
}

fn trusting(pin: &str) -> String {
    format!("--ca FILE trusts an authority, {pin} this certificate, -k any")
}

/// `a, b and c`, or the first few of many.
fn list(names: &[String]) -> String {
    const MOST: usize = 4;
    match names {
        [name] => name.clone(),
        [first @ .., last] if names.len() <= MOST => format!("{} and {last}", first.join(", ")),
        _ => format!("{} and {} more", names[..MOST - 1].join(", "), names.len() + 1 - MOST),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_rustls::rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn dates_are_for_people() {
        let moment = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (then, day) = (1_772_496_000, 86_400);
        let (time, not_after) = (moment(then + 17 * day + 60), moment(then));
        let expired =
            verdict(&CertificateError::ExpiredContext { time, not_after }, "api.example.com", &[]);
        assert_eq!(
            expired.to_string(),
            "certificate of api.example.com expired on 3 March 2026 (17 days ago)"
        );
        let (time, not_before) = (moment(then - day), moment(then));
        let early = verdict(&CertificateError::NotValidYetContext { time, not_before }, "a", &[]);
        assert_eq!(
            early.to_string(),
            "certificate of a is not valid before 3 March 2026 (in 1 day)"
        );
    }

    #[test]
    fn a_long_list_of_names_is_cut() {
        let names: Vec<String> = ('a'..='z').map(String::from).collect();
        assert_eq!(list(&names[..1]), "a");
        assert_eq!(list(&names[..2]), "a and b");
        assert_eq!(list(&names[..4]), "a, b, c and d");
        assert_eq!(list(&names), "a, b, c and 23 more");
    }
}
