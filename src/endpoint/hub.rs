//! `hub:[NAME]`: a room in which every peer hears the others.

use std::fmt;

use super::{Call, Footing, Ground, Scheme, Shape};
use crate::duplex::Duplex;
use crate::error::Result;
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
