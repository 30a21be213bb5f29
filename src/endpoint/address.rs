//! How an address is read and written: hops between commas, each with a scheme.

use std::fmt;
use std::str::FromStr;

use super::{Endpoint, Footing, Hop, Scheme, stdio, ws};
use crate::error::{Error, Kind, Result};

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let usage = |what: String| Error::new(Kind::Usage, what);
        let mut hops = Vec::new();
        let mut footing = Some(Footing::Here);
        for part in split_hops(text) {
            let hop = Hop::parse(part, footing).map_err(usage)?;
            footing = hop.gives();
            hops.push(hop);
        }
        let endpoint = Self { hops };
        endpoint.check_chain().map_err(usage)?;
        Ok(endpoint)
    }
}

/// `{:#}` hides passwords, for messages and logs.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, hop) in self.hops.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            hop.fmt(f)?;
        }
        Ok(())
    }
}

/// Cuts an address at the commas that a known scheme and its colon follow.
pub(super) fn split_hops(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let part = rest?;
        let cut = part.match_indices(',').map(|(at, _)| at).find(|at| {
            let next = &part[at + 1..];
            next.split_once(':').is_some_and(|(name, _)| name != "-" && Endpoint::is_scheme(name))
        });
        rest = cut.map(|at| &part[at + 1..]);
        Some(cut.map_or(part, |at| &part[..at]))
    })
}

impl Endpoint {
    /// Whether each hop can stand on what the one before it gives.
    pub(super) fn check_chain(&self) -> Result<(), String> {
        let mut footing = Some(Footing::Here);
        let mut before = "this machine".to_owned();
        for hop in &self.hops {
            match footing {
                Some(footing) if hop.stands_on().contains(&footing) => {}
                Some(_) => return Err(format!("`{hop:#}` cannot be reached through {before}")),
                None => return Err(format!("nothing can be reached through {before}")),
            }
            footing = hop.gives();
            before = format!("`{hop:#}`");
        }
        Ok(())
    }
}

impl Hop {
    fn parse(text: &str, footing: Option<Footing>) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Stdio(stdio::Stdio));
        }
        if text.is_empty() {
            return Err("an address is missing".into());
        }
        if let Some((name, rest)) = text.split_once(':')
            && let Some(hop) = Self::of_scheme(name, rest, footing)
        {
            return hop.map_err(|why| format!("`{}`: {why}", redacted(text)));
        }
        // `host:port`, `:8010` and `[::1]:80/path` are `ws://`.
        if is_host_and_port(text) {
            return ws::Ws::parse("ws", &format!("//{text}"))
                .map(Self::Ws)
                .map_err(|why| format!("`{}`: {why}", redacted(text)));
        }
        Err(unknown(text))
    }
}

/// Whether this can only be meant as a host and a port, be the port right or wrong: `db:x` may be
/// a scheme that is misspelt, `:x` and `10.0.0.1:x` cannot.
fn is_host_and_port(text: &str) -> bool {
    let authority = text.split('/').next().unwrap_or(text);
    authority.rsplit_once(':').is_some_and(|(host, port)| {
        let number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        // `a.b://` is a scheme that is not known.
        let name = host.contains('.') && (!port.is_empty() || !text.contains("://"));
        number || name || host.is_empty() || authority.starts_with('[')
    })
}

/// A hop that cannot be parsed, without the login that may stand in it.
fn redacted(text: &str) -> String {
    match (text.find("//"), text.rfind('@')) {
        (Some(slashes), Some(at)) if slashes + 2 < at => {
            format!("{}***{}", &text[..slashes + 2], &text[at..])
        }
        _ => text.to_owned(),
    }
}

/// What to say of an address without a known scheme.
fn unknown(text: &str) -> String {
    let mut known: Vec<_> = Endpoint::SCHEMES.iter().flat_map(|it| it.names).collect();
    known.dedup();
    match text.split_once(':') {
        Some((name, _)) => {
            let guess = known.iter().find(|known| {
                known.len() > 1
                    && (known.starts_with(name) || name.starts_with(***known))
                    && !name.is_empty()
            });
            match guess {
                Some(guess) => format!("unknown scheme `{name}:`; did you mean `{guess}:`?"),
                None => {
                    let all = known
                        .iter()
                        .map(|name| if **name == "-" { "-".into() } else { format!("{name}:") });
                    format!(
                        "unknown scheme `{name}:`; known are {}",
                        all.collect::<Vec<_>>().join(" ")
                    )
                }
            }
        }
        None => format!("`{text}` has no scheme; did you mean `ws://{text}` or `file:{text}`?"),
    }
}
