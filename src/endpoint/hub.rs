//! `hub:[NAME]`: a room in which every peer hears the others; after `ssh:`, a client of that server.

use std::fmt;

use super::{Call, Footing, Ground, HostPort, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::{Kind, Result};
use crate::framing::Framing;
use crate::hub::{self, Guest};

/// A room.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HubName {
    room: String,
}

impl Scheme for HubName {
    const NAMES: &'static [&'static str] = &["hub"];
    const USAGE: &'static str = "hub:[NAME]";
    const HELP: &'static str = "every peer attached to NAME hears the others";
    const STANDS_ON: &'static [Footing] = &[Footing::Here];
    const GIVES: Option<Footing> = None;
    const SHAPE: Shape = Shape::Messages;
    // What a peer without messages of its own says in a room, it says in lines.
    const FRAMING: Framing = Framing::Lines;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        if rest.chars().any(char::is_control) {
            return Err("a room's name has no control characters".into());
        }
        Ok(Self { room: rest.to_owned() })
    }

    async fn connect(&self, _: Ground, call: &Call<'_>) -> Result<Duplex> {
        let member = call.cx.hubs.join(&self.room, &introduce(call));
        Ok(Duplex::Messages(Box::new(member)))
    }
}

/// The one place that a client of a far server offers under its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offered {
    name: String,
}

impl Scheme for Offered {
    const NAMES: &'static [&'static str] = HubName::NAMES;
    const USAGE: &'static str = "ssh://...,hub:NAME";
    const HELP: &'static str =
        "what the client NAME of a towline server offers to the others (--allow-peers)";
    const STANDS_ON: &'static [Footing] = &[Footing::Machine];
    const GIVES: Option<Footing> = Some(Footing::Stream);
    const SHAPE: Shape = Shape::Bytes;

    fn parse(_: &str, rest: &str) -> Result<Self, String> {
        if rest.is_empty() || rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("the name of a client is missing, as in ssh://s,hub:c2".into());
        }
        Ok(Self { name: rest.to_owned() })
    }

    async fn connect(&self, ground: Ground, call: &Call<'_>) -> Result<Duplex> {
        let name = &self.name;
        // Nobody listens on port 0, so that it can stand for whichever is offered.
        let to = HostPort { host: name.clone(), port: 0 };
        let opened = ground.open(&to, call).await.map_err(|error| match error.kind() {
            Kind::Refused => error.hint(format_args!(
                "{name} has to offer one port there, to a server with --allow-peers; of several, \
                 write which, as tcp://{name}:22"
            )),
            _ => error,
        });
        opened.map(Duplex::Bytes)
    }
}

impl Offered {
    /// What the client is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Who joins a room.
pub(super) fn introduce<'a>(call: &Call<'a>) -> Guest<'a> {
    let from = call.cx.serve.as_ref().and_then(|serve| serve.hub.name_from.as_ref());
    Guest {
        name: call.peer.and_then(|peer| hub::chosen(peer, from)),
        address: call.peer.map_or("", |peer| &peer.address),
        identity: call.peer.and_then(|peer| peer.identity.clone()),
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hub:{}", self.room)
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hub:{}", self.name)
    }
}
