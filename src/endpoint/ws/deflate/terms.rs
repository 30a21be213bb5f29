//! How permessage-deflate is agreed on (RFC 7692 section 7.1): from header fields, to header fields.

use std::fmt;

use super::codec::WIDEST;
use crate::cli::value::{Compress, token};
use crate::error::{Error, Kind, Result};
use crate::http::Fields;

/// The field in which extensions are offered and granted.
pub(crate) const FIELD: &str = "Sec-WebSocket-Extensions";

const NAME: &str = "permessage-deflate";

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How the server compresses.
    pub server: Window,
    /// How the client compresses.
    pub client: Window,
}

/// What messages of one direction may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How far: 2^`bits` bytes, of 8 to 15.
    pub bits: u8,
    /// Whether beyond the message itself ("context takeover").
    pub kept: bool,
}

/// As the parameters of an answer.
impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = |window: Window| (window.bits < WIDEST).then_some(window.bits);
        let params = Params {
            server_no_context_takeover: !self.server.kept,
            client_no_context_takeover: !self.client.kept,
            server_max_window_bits: bits(self.server),
            client_max_window_bits: bits(self.client).map(Some),
        };
        params.fmt(f)
    }
}

/// What a server grants.
pub(in crate::endpoint::ws) struct Grant {
    pub(in crate::endpoint::ws) terms: Terms,
    /// The value of [`FIELD`] in the answer.
    pub(in crate::endpoint::ws) answer: String,
}

/// What a client offers, as a value of [`FIELD`]: the server may have it as it likes.
pub(in crate::endpoint::ws) fn offer() -> String {
    Params { client_max_window_bits: Some(None), ..Params::default() }.to_string()
}

/// What a server answers a request: the first offer that it understands is granted. All others are
/// declined, as are those with parameters that are unknown, said twice or out of range.
///
/// What is compressed at a level keeps its windows for as long as the client agrees. Otherwise none
/// is kept, so that a quiet peer takes no more memory than without compression.
pub(in crate::endpoint::ws) fn grant(compress: Compress, request: &Fields) -> Option<Grant> {
    let offer = offers(request).next().filter(|_| compress != Compress::Off)?;
    let thrifty = compress == Compress::Auto;
    let granted = Params {
        server_no_context_takeover: offer.server_no_context_takeover || thrifty,
        client_no_context_takeover: offer.client_no_context_takeover || thrifty,
        server_max_window_bits: offer.server_max_window_bits,
        // Said only to a client that has said it (section 7.1.2.2), and only if it limits something.
        client_max_window_bits: offer.client_max_window_bits.filter(Option::is_some),
    };
    Some(Grant { terms: granted.terms(), answer: granted.to_string() })
}

/// What an answer grants of what a request has offered.
///
/// # Errors
/// [`Kind::Handshake`]: it grants what was not offered, or is malformed.
pub(in crate::endpoint::ws) fn granted(request: &Fields, answer: &Fields) -> Result<Option<Terms>> {
    let bad = |what: String| Err(Error::new(Kind::Handshake, what));
    let mut elements = answer.list(FIELD);
    let Some(element) = elements.next() else { return Ok(None) };
    let has_name = |it: &str| name(it).eq_ignore_ascii_case(name(element));
    if !request.list(FIELD).any(has_name) {
        return bad(format!("the extension {element} was granted but never offered"));
    }
    if elements.next().is_some() {
        return bad("more than one extension was granted".into());
    }
    if !name(element).eq_ignore_ascii_case(NAME) {
        return bad(format!("the extension {element} was granted, which is not spoken here"));
    }
    let Some(granted) = Params::parse(element).filter(Params::can_be_granted) else {
        return bad(format!("what is granted is malformed: {element}"));
    };
    match offers(request).find(|offer| granted.fits(offer)) {
        Some(offer) => Ok(Some(granted.and(&offer).terms())),
        None => bad(format!("what is granted was not offered like this: {element}")),
    }
}

/// The offers of a request that can be understood, in order of preference.
fn offers(request: &Fields) -> impl Iterator<Item = Params> {
    request.list(FIELD).filter_map(Params::parse)
}

/// The parameters of an offer or an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// An offer may say that the client would heed a limit, and give none.
    client_max_window_bits: Option<Option<u8>>,
}

impl Params {
    /// Parses an element of [`FIELD`]. `None` if it is another extension, or malformed.
    fn parse(element: &str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        parts.next().filter(|name| name.eq_ignore_ascii_case(NAME))?;
        let mut params = Self::default();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (part, None),
            };
            let said_before = match (&*name.to_ascii_lowercase(), value) {
                ("server_no_context_takeover", None) => {
                    std::mem::replace(&mut params.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    std::mem::replace(&mut params.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    params.server_max_window_bits.replace(bits(value)?).is_some()
                }
                ("client_max_window_bits", None) => {
                    params.client_max_window_bits.replace(None).is_some()
                }
                ("client_max_window_bits", Some(value)) => {
                    params.client_max_window_bits.replace(Some(bits(value)?)).is_some()
                }
                _ => return None,
            };
            if said_before {
                return None;
            }
        }
        Some(params)
    }

    /// Whether an answer can say this, where an offer could.
    fn can_be_granted(&self) -> bool {
        self.client_max_window_bits != Some(None)
    }

    /// Whether an answer is one to this offer.
    fn fits(&self, offer: &Self) -> bool {
        let at_most = |bits: u8, limit: Option<u8>| limit.is_none_or(|limit| bits <= limit);
        let server = offer.server_max_window_bits;
        (self.server_no_context_takeover || !offer.server_no_context_takeover)
            && self.server_max_window_bits.map_or(server.is_none(), |bits| at_most(bits, server))
            && match (self.client_max_window_bits.flatten(), offer.client_max_window_bits) {
                (Some(bits), Some(limit)) => at_most(bits, limit),
                (Some(_), None) => false,
                (None, _) => true,
            }
    }

    /// An answer with what the client has bound itself to, whether the answer says so or not.
    fn and(self, offer: &Self) -> Self {
        let client = |params: &Self| params.client_max_window_bits.flatten();
        Self {
            client_no_context_takeover: self.client_no_context_takeover
                || offer.client_no_context_takeover,
            client_max_window_bits: client(&self).or(client(offer)).map(Some),
            ..self
        }
    }

    fn terms(&self) -> Terms {
        let window = |no_context_takeover: bool, bits: Option<u8>| Window {
            bits: bits.unwrap_or(WIDEST),
            kept: !no_context_takeover,
        };
        Terms {
            server: window(self.server_no_context_takeover, self.server_max_window_bits),
            client: window(self.client_no_context_takeover, self.client_max_window_bits.flatten()),
        }
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        for (said, name) in [
            (self.server_no_context_takeover, "server_no_context_takeover"),
            (self.client_no_context_takeover, "client_no_context_takeover"),
        ] {
            if said {
                write!(f, "; {name}")?;
            }
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => write!(f, "; client_max_window_bits={bits}"),
            Some(None) => f.write_str("; client_max_window_bits"),
            None => Ok(()),
        }
    }
}

/// The name of an extension.
fn name(element: &str) -> &str {
    element.split(';').next().unwrap_or_default().trim()
}

/// The bits of a window: no leading zero, quoted or not (RFC 6455 section 9.1).
fn bits(value: &str) -> Option<u8> {
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = token(quoted.unwrap_or(value)).ok()?;
    let bits = value.parse().ok().filter(|bits| (8..=WIDEST).contains(bits))?;
    (value == bits.to_string()).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &str) -> Fields {
        let mut fields = Fields::default();
        fields.push(FIELD, value);
        fields
    }

    #[test]
    fn a_server_grants_the_first_offer_that_it_understands() {
        let level = Compress::Level(6);
        for (compress, offer, answer) in [
            (level, "permessage-deflate", "permessage-deflate"),
            (
                Compress::Auto,
                "permessage-deflate; client_max_window_bits",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            ),
            (level, "permessage-deflate; client_max_window_bits", "permessage-deflate"),
            (
                level,
                "Permessage-Deflate ;CLIENT_MAX_WINDOW_BITS = 12;server_max_window_bits=\"15\"",
                "permessage-deflate; server_max_window_bits=15; client_max_window_bits=12",
            ),
            (
                level,
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            ),
            (
                level,
                "x-webkit-deflate-frame, permessage-deflate; mode=9, \
                 permessage-deflate; server_max_window_bits=8, permessage-deflate",
                "permessage-deflate; server_max_window_bits=8",
            ),
        ] {
            let grant = grant(compress, &fields(offer)).expect(offer);
            assert_eq!(grant.answer, answer, "{offer}");
            let agreed = granted(&fields(offer), &fields(answer)).unwrap();
            assert_eq!(agreed, Some(grant.terms), "{offer}");
        }
    }

    #[test]
    fn a_server_declines_what_it_does_not_understand() {
        for params in [
            "x",
            "server_no_context_takeover=1",
            "client_no_context_takeover=",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=+10",
            "server_max_window_bits=\"10",
            "client_max_window_bits=",
            "client_max_window_bits=1 0",
            "client_max_window_bits; client_max_window_bits=10",
            "server_no_context_takeover; server_no_context_takeover",
            "",
        ] {
            let offer = format!("permessage-deflate; {params}");
            assert!(grant(Compress::Auto, &fields(&offer)).is_none(), "{offer}");
        }
        assert!(grant(Compress::Auto, &fields("permessage-bzip2")).is_none());
        assert!(grant(Compress::Auto, &Fields::default()).is_none());
    }

    #[test]
    fn a_client_takes_what_it_has_offered() {
        let terms = |server: (u8, bool), client: (u8, bool)| Terms {
            server: Window { bits: server.0, kept: server.1 },
            client: Window { bits: client.0, kept: client.1 },
        };
        for (offer, answer, want) in [
            (&*offer(), "permessage-deflate", terms((15, true), (15, true))),
            (
                &offer(),
                "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8",
                terms((9, true), (8, true)),
            ),
            (
                &offer(),
                "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
                terms((15, false), (15, false)),
            ),
            (
                "permessage-deflate; client_no_context_takeover; client_max_window_bits=10",
                "permessage-deflate",
                terms((15, true), (10, false)),
            ),
            (
                "permessage-deflate; server_max_window_bits=10, permessage-deflate",
                "permessage-deflate",
                terms((15, true), (15, true)),
            ),
        ] {
            let agreed = granted(&fields(offer), &fields(answer)).unwrap();
            assert_eq!(agreed, Some(want), "{answer}");
        }
        assert_eq!(granted(&fields(&offer()), &Fields::default()).unwrap(), None);
    }

    #[test]
    fn a_client_takes_nothing_else() {
        let plain = "permessage-deflate";
        for (offer, answer, why) in [
            ("", plain, "was granted but never offered"),
            (&*offer(), "x-own", "was granted but never offered"),
            ("x-own; a=b", "x-own", "is not spoken here"),
            (&offer(), "permessage-deflate, permessage-deflate", "more than one"),
            (&offer(), "permessage-deflate; x", "malformed"),
            (&offer(), "permessage-deflate; client_max_window_bits", "malformed"),
            (&offer(), "permessage-deflate; server_max_window_bits", "malformed"),
            (&offer(), "permessage-deflate; client_max_window_bits=7", "malformed"),
            (plain, "permessage-deflate; client_max_window_bits=10", "not offered like this"),
            ("permessage-deflate; server_no_context_takeover", plain, "not offered like this"),
            ("permessage-deflate; server_max_window_bits=10", plain, "not offered like this"),
            (
                "permessage-deflate; server_max_window_bits=10",
                "permessage-deflate; server_max_window_bits=11",
                "not offered like this",
            ),
            (
                "permessage-deflate; client_max_window_bits=10",
                "permessage-deflate; client_max_window_bits=11",
                "not offered like this",
            ),
        ] {
            let error = granted(&fields(offer), &fields(answer)).unwrap_err();
            assert_eq!(error.kind(), Kind::Handshake);
            assert!(error.what().contains(why), "{answer}: {error}");
        }
    }
}
