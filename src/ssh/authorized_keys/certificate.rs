//! Certificates of users: what they must fulfil and what they take away.

use std::time::{Duration, UNIX_EPOCH};

use russh::keys::Certificate;
use russh::keys::ssh_key::certificate::CertType;

use super::addresses::Addresses;
use super::{Grant, Visitor};
use crate::ssh::certificate::check;

/// What is left of a grant for who has this certificate. The authority is trusted already.
/// `principals` are the names that are let in, instead of the user's.
pub(super) fn narrow(
    mut grant: Grant,
    cert: &Certificate,
    principals: Option<&[String]>,
    visitor: Visitor<'_>,
) -> Result<Grant, String> {
    check(cert, CertType::User, visitor.now)?;
    let named = cert.valid_principals();
    let fits = match principals {
        Some(principals) => named.iter().any(|name| principals.contains(name)),
        None => named.iter().any(|name| name == visitor.user),
    };
    if !fits {
        return Err(match named {
            [] => "the certificate names no user".into(),
            _ => format!("the certificate is for {}", named.join(", ")),
        });
    }
    for (option, value) in cert.critical_options().iter() {
        match &**option {
            "source-address" => {
                let from = Addresses::networks(value)?;
                if !from.contains(visitor.from) {
                    return Err(format!("the certificate may not come from {}", visitor.from));
                }
            }
            "force-command" => match &grant.command {
                Some(command) if command != value => {
                    return Err("the certificate and the line force different commands".into());
                }
                _ => grant.command = Some(value.clone()),
            },
            option => {
                return Err(format!("the certificate has the unknown critical option {option}"));
            }
        }
    }
    grant.pty &= cert.extensions().contains_key("permit-pty");
    grant.port_forwarding &= cert.extensions().contains_key("permit-port-forwarding");
    // A certificate that is for ever ends later than time can be told.
    let ends = UNIX_EPOCH.checked_add(Duration::from_secs(cert.valid_before()));
    grant.expires = [grant.expires, ends].into_iter().flatten().min();
    Ok(grant)
}
