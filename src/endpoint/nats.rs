//! `nats://HOST[:PORT]/SUBJECT`: the hub across machines. Nothing outside this file and its folder
//! knows which library speaks the protocol.
//!
//! Each peer has a connection of its own, so that it is one client among others to the server, and
//! peers of one process hear each other as those of two do.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::proxy::Login;
use super::tcp::{HostPort, authority_and_path};
use super::{Call, Footing, Ground, Scheme, Shape, hub};
use crate::duplex::Duplex;
use crate::error::{Error, Kind, Result};
use crate::framing::Framing;
use crate::trace::Phase;

mod feed;
mod open;
mod outage;
mod session;

pub(crate) use outage::Outages;

/// The port of NATS servers.
const PORT: u16 = 4222;

/// What of a subject cannot stand in an address as it is.
const RESERVED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'/').add(b',').add(b'?').add(b'#');

/// A subject of a NATS server, over TLS if it is `nats+tls:`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Nats {
    secure: bool,
    login: Option<Login>,
    to: HostPort,
    subject: String,
}

impl Scheme for Nats {
    const NAMES: &'static [&'static str] = &["nats", "nats+tls"];
    const USAGE: &'static str = "nats://[USER:PASSWORD@]HOST[:PORT]/SUBJECT, nats+tls://...";
    const HELP: &'static str = "publishes to and hears a subject of a NATS server, the hub across \
        machines; one with wildcards is only heard";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = None;
    const SHAPE: Shape = Shape::Messages;
    // As in a room.
    const FRAMING: Framing = Framing::Lines;

    fn parse(name: &str, rest: &str) -> Result<Self, String> {
        let (authority, path) = authority_and_path(rest);
        let (login, host) = Login::split(authority)?;
        if authority.rsplit_once('@').is_some_and(|(login, _)| !login.contains(':')) {
            return Err("a login is USER:PASSWORD; a token goes to --nats-token-file".into());
        }
        let to = HostPort::parse(host, Some(PORT))?;
        let subject = subject(path.strip_prefix('/').unwrap_or(path))?;
        Ok(Self { secure: name == "nats+tls", login, to, subject })
    }

    async fn connect(&self, _: Ground, call: &Call<'_>) -> Result<Duplex> {
        let _connecting = call.trace.enter(Phase::Tcp);
        let guest = hub::introduce(call);
        let session = open::open(self, guest.name, call).await?;
        Ok(Duplex::Messages(Box::new(session)))
    }
}

impl Nats {
    /// Whether TLS is a must.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the subject stands for many, so that nothing can be published to it.
    fn has_wildcards(&self) -> bool {
        self.subject.split('.').any(|token| matches!(token, "*" | ">"))
    }

    /// The server, without login and subject.
    fn server(&self) -> String {
        let scheme = if self.secure { "nats+tls" } else { "nats" };
        format!("{scheme}://{}", self.to)
    }

    /// Nothing can be published to a subject with wildcards.
    fn only_heard(&self) -> Error {
        let what = format!("`{}` has wildcards, so it can only be heard", self.subject);
        Error::new(Kind::Usage, what).hint("to publish, write a subject without * and >")
    }
}

/// Decodes and checks a subject: tokens between dots.
fn subject(path: &str) -> Result<String, String> {
    let Ok(subject) = percent_decode_str(path).decode_utf8() else {
        return Err("the subject is not UTF-8".into());
    };
    if subject.is_empty() {
        return Err("a subject is missing, as in nats://host/chat".into());
    }
    if path.contains(['/', '?', '#']) {
        let dotted = path.trim_end_matches('/').replace('/', ".");
        return Err(format!("a subject has dots where a path has slashes: write {dotted}"));
    }
    if subject.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a subject has no spaces and no control characters".into());
    }
    let tokens: Vec<_> = subject.split('.').collect();
    if tokens.iter().any(|token| token.is_empty()) {
        return Err(format!("`{subject}` has an empty part: no dot at its ends, nor two in a row"));
    }
    if tokens[..tokens.len() - 1].contains(&">") {
        return Err(format!("`{subject}`: > stands for all that follows, so it comes last"));
    }
    Ok(subject.into_owned())
}

impl fmt::Display for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "nats+tls://" } else { "nats://" })?;
        if let Some(login) = &self.login {
            login.fmt(f)?;
        }
        match self.to.port {
            PORT if self.to.host.contains(':') => write!(f, "[{}]", self.to.host)?,
            PORT => f.write_str(&self.to.host)?,
            _ => write!(f, "{}", self.to)?,
        }
        write!(f, "/{}", utf8_percent_encode(&self.subject, RESERVED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Nats, String> {
        let (name, rest) = text.split_once(':').unwrap();
        Nats::parse(name, rest)
    }

    #[test]
    fn what_is_printed_parses_to_the_same() {
        for text in [
            "nats:///chat",
            "nats://broker/chat.room-1",
            "nats+tls://me:p%40ss@[::1]:4223/a.*.>",
            "nats://[::1]/a%2Fb",
            "nats://broker/caf%C3%A9%3F",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("nats://broker:4222/a").unwrap().to_string(), "nats://broker/a");
        let hidden = format!("{:#}", parse("nats://me:secret@broker/a").unwrap());
        assert_eq!(hidden, "nats://me:***@broker/a");
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for (text, why) in [
            ("nats://broker", "a subject is missing"),
            ("nats://broker/", "a subject is missing"),
            ("nats://broker/a/b", "write a.b"),
            ("nats://broker/a%20b", "no spaces"),
            ("nats://broker/a%0d%0aPUB", "no spaces"),
            ("nats://broker/.a", "empty part"),
            ("nats://broker/a..b", "empty part"),
            ("nats://broker/>.a", "comes last"),
            ("nats://broker/%ff", "not UTF-8"),
            ("nats://token@broker/a", "--nats-token-file"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn wildcards_are_whole_parts() {
        for (subject, has) in [("a.*", true), (">", true), ("a*b.c", false), ("a.b>", false)] {
            let nats = parse(&format!("nats://broker/{subject}")).unwrap();
            assert_eq!(nats.has_wildcards(), has, "{subject}");
        }
    }
}
