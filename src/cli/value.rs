//! Values of flags: parsed once, valid ever after.

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use crate::duplex::{Close, Message};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};

use crate::endpoint::{Endpoint, HostPort};
use crate::ssh::Reach;

/// A number of bytes.
pub type Size = usize;

/// Parses `10s`, `250ms`, `2m`, `1h`, a bare number of seconds, or `inf`.
pub fn duration(text: &str) -> Result<Duration, String> {
    if matches!(text, "inf" | "infinity") {
        return Ok(Duration::MAX);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err("a duration is a number and a unit: us, ms, s, m, h, d, or `inf`".into()),
    };
    let number: f64 = number.parse().map_err(|_| "a duration starts with a number, as 1.5s")?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

/// Parses `4096`, `64KiB`, `64k`, `1MiB`, `2M`, `1GiB`: units are powers of 1024.
pub fn size(text: &str) -> Result<Size, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err("a size is a number and a unit: B, KiB, MiB, GiB".into()),
    };
    let number: usize = number.parse().map_err(|_| "a size starts with a whole number")?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".into())
}

/// Parses the limit of a message. A peer can make us reserve that much with one frame header.
pub fn message_size(text: &str) -> Result<Size, String> {
    match size(text)? {
        limit if limit <= 4 << 30 => Ok(limit),
        _ => Err("at most 4GiB".into()),
    }
}

/// Parses a limit that lets somebody in.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".into()),
        Ok(limit) => Ok(limit),
        Err(_) => Err("a whole number".into()),
    }
}

/// Parses the factor of `--speed`.
pub fn speed(text: &str) -> Result<f64, String> {
    match text {
        "max" | "inf" => Ok(f64::INFINITY),
        _ => text
            .parse()
            .ok()
            .filter(|speed| *speed > 0.0)
            .ok_or_else(|| "a positive number, or `max`".into()),
    }
}

/// Parses text that may stand in a header value: no control characters, so no second header.
pub fn header_text(text: &str) -> Result<String, String> {
    match text.chars().find(|c| c.is_control() && *c != '\t') {
        Some(c) => Err(format!("a header value cannot hold {c:?}")),
        None => Ok(text.trim().to_owned()),
    }
}

/// Parses a token, RFC 9110 section 5.6.2.
pub fn token(text: &str) -> Result<String, String> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || !text.bytes().all(ok) {
        return Err("letters, digits and !#$%&'*+-.^_`|~ only".into());
    }
    Ok(text.to_owned())
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name, as written.
    pub name: String,
    /// Its value, without the space around it.
    pub value: String,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("a header is written `Name: value`")?;
        Ok(Self { name: token(name.trim_end())?, value: header_text(value)? })
    }
}

/// Whether WebSocket messages are compressed (RFC 7692), and how well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// Nothing is offered, nor granted.
    #[default]
    Off,
    /// Where the peer does it too, for little CPU time and no memory of what was said before.
    Auto,
    /// Where the peer does it too, at a level of zlib's, 1 to 9.
    Level(u8),
}

impl Compress {
    /// The level of zlib's.
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Off | Self::Auto => 1,
            Self::Level(level) => level,
        }
    }
}

/// As it is written.
impl fmt::Display for Compress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Auto => f.write_str("auto"),
            Self::Level(level) => level.fmt(f),
        }
    }
}

impl FromStr for Compress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            _ => match text.parse() {
                Ok(level @ 1..=9) => Ok(Self::Level(level)),
                _ => Err("auto, off, or a level of 1 to 9".into()),
            },
        }
    }
}

/// Something that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        header_text(text).map(Self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// Parses a secret, or reads the first line of `@FILE`.
pub fn secret(text: &str) -> Result<Secret, String> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("{path}: {}", crate::error::plain(&error)))?
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
        None => text.to_owned(),
    };
    text.parse()
}

/// Reads a secret from a file, without the white space around it.
pub fn secret_file(path: &str) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| crate::error::plain(&error))?;
    Ok(Secret(text.trim().to_owned()))
}

/// The SHA-256 of a certificate (DER).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex: String = text.strip_prefix("sha256:").unwrap_or(text).replace(':', "");
        let wrong = || "a pin is sha256: and 64 hexadecimal digits".to_owned();
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(wrong());
        }
        let mut pin = [0; 32];
        for (byte, pair) in pin.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let pair = str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(pin))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses a value that may hold a password, which clap would repeat where it is invalid.
#[derive(Clone, Copy, Debug)]
pub struct Discreet<T>(PhantomData<T>);

impl<T> Discreet<T> {
    /// A parser for a `T`.
    pub fn parser() -> Self {
        Self(PhantomData)
    }
}

impl<T> TypedValueParser for Discreet<T>
where
    T: FromStr<Err: fmt::Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let parsed = match value.to_str() {
            Some(text) => text.parse().map_err(|why: T::Err| why.to_string()),
            None => Err("it is not UTF-8".to_owned()),
        };
        parsed.map_err(|why| {
            let arg = arg.map_or_else(String::new, |arg| format!(" for '{arg}'"));
            let what = format!("invalid value{arg}: {why}\n");
            clap::Error::raw(ErrorKind::ValueValidation, what).with_cmd(command)
        })
    }
}

/// Parses where to answer HTTP: a host and a port, which has to be written.
pub fn http_listener(text: &str) -> Result<Endpoint, String> {
    if text.contains('/') {
        return Err("only HOST:PORT is needed".to_owned());
    }
    HostPort::parse(text, None)?;
    format!("ws://{text}").parse().map_err(|error: crate::error::Error| error.what().to_owned())
}

/// An address of `proxy`, and how much of the load it gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its share, if one is written.
    pub weight: Option<usize>,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)?;
        self.weight.map_or(Ok(()), |weight| write!(f, "*{weight}"))
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, weight) = match text.rsplit_once('*') {
            Some((address, weight)) if weight.bytes().all(|byte| byte.is_ascii_digit()) => {
                let weight = weight.parse().ok().filter(|weight| (1..=1000).contains(weight));
                (address, Some(weight.ok_or("a weight is 1 to 1000")?))
            }
            _ => (text, None),
        };
        let endpoint = Endpoint::parse_web(address);
        Ok(Self { endpoint: endpoint.map_err(|error| error.what().to_owned())?, weight })
    }
}

/// The SSH server of a tunnel: an address that ends with one, or its name alone.
#[derive(Clone, Debug)]
pub struct Via(pub Endpoint);

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = !text.contains("://") && !text.contains(',') && !text.starts_with("ssh:");
        if let Some((first, _)) = text.split_once(',')
            && !first.contains(':')
        {
            return Err(format!(
                "`{first}` has no scheme: VIA is USER@HOST, or a chain of hops that ends with an \
                 SSH server, as ssh://{first},ssh://USER@HOST"
            ));
        }
        let address = if plain { format!("ssh://{text}") } else { text.to_owned() };
        let via: Endpoint =
            address.parse().map_err(|error: crate::error::Error| error.to_string())?;
        match via.is_machine() {
            true => Ok(Self(via)),
            false => Err(format!("`{via:#}` does not end with an SSH server, as ssh://user@host")),
        }
    }
}

/// A path of a WebSocket listener and the target of its peers.
#[derive(Clone, Debug)]
pub struct Route {
    /// The path, with its slash; a final `*` stands for anything.
    pub path: String,
    /// Where its peers are joined to.
    pub target: Endpoint,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, target) = text.split_once('=').ok_or("a route is written `/path=target`")?;
        if !path.starts_with('/') {
            return Err(format!("the path of a route starts with a slash: `/{path}`"));
        }
        let target = target.parse::<Endpoint>().map_err(|error| error.to_string())?;
        Ok(Self { path: path.to_owned(), target })
    }
}

/// A place that SSH clients may have us listen on: a port alone is for loopback.
pub fn listen_reach(text: &str) -> Result<Reach, String> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("localhost:{text}").parse(),
        false => text.parse(),
    }
}

/// How many SSH clients may be logging in at once, as sshd's MaxStartups says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Startups {
    /// So many are all let in.
    pub start: usize,
    /// What part of the next is refused, in percent.
    pub rate: usize,
    /// From so many on all are refused.
    pub full: usize,
}

impl FromStr for Startups {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not START or START:RATE:FULL");
        let numbers: Result<Vec<usize>, _> = text.split(':').map(str::parse).collect();
        let startups = match numbers.map_err(|_| wrong())?[..] {
            [full] => Self { start: full, rate: 100, full },
            [start, rate, full] => Self { start, rate, full },
            _ => return Err(wrong()),
        };
        match startups.full >= startups.start.max(1) && startups.rate <= 100 {
            true => Ok(startups),
            false => Err(wrong()),
        }
    }
}

/// After how many messages to close, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseSpec {
    /// After this many messages.
    pub after: u64,
    /// The Close code.
    pub code: u16,
    /// The Close reason.
    pub reason: String,
}

impl FromStr for CloseSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let after =
            parts.next().and_then(|n| n.parse().ok()).ok_or("as 5, 5:4001 or 5:4001:quota")?;
        let (code, reason) = match parts.next() {
            None => (1000, String::new()),
            Some(code) => close(code, parts.next())?,
        };
        Ok(Self { after, code, reason })
    }
}

/// Parses a Close code that may be sent (RFC 6455 section 7.4) and its reason.
pub fn close(code: &str, reason: Option<&str>) -> Result<(u16, String), String> {
    let code: u16 = code.parse().map_err(|_| format!("`{code}` is not a close code"))?;
    if !Close::may_be_sent(code) {
        return Err(format!(
            "{code} cannot be sent; use 1000 to 1014 without 1004 to 1006, or 3000 to 4999"
        ));
    }
    let reason = reason.unwrap_or_default();
    if reason.len() > Close::LONGEST_REASON {
        return Err(format!("a close reason has at most {} bytes", Close::LONGEST_REASON));
    }
    Ok((code, reason.to_owned()))
}

/// Parses the payload of a control message.
pub fn control(text: &str) -> Result<Bytes, String> {
    if text.len() > Message::LONGEST_CONTROL {
        return Err(format!("a control message has at most {} bytes", Message::LONGEST_CONTROL));
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

/// Parses bytes written as hexadecimal digits; spaces and colons may stand between them.
pub fn hex(text: &str) -> Result<Bytes, String> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let byte = |pair: &[char]| match pair {
        [high, low] => u8::try_from(high.to_digit(16)? << 4 | low.to_digit(16)?).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.map(Bytes::from).ok_or_else(|| "two hexadecimal digits a byte, as `de ad be ef`".into())
}

/// Where the name of a WebSocket peer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFrom {
    /// A request header.
    Header(String),
    /// A query parameter.
    Query(String),
    /// The last segment of the path.
    Path,
}

impl FromStr for NameFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "path" => Ok(Self::Path),
            None if text == "query" => Ok(Self::Query("name".into())),
            Some(("header", name)) => token(name).map(Self::Header),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            _ => Err("header:NAME, query:NAME or path".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, want) in
            [("10s", 10_000), ("250ms", 250), ("1.5", 1500), ("2m", 120_000), ("0", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(want)), "{text}");
        }
        assert_eq!(duration("inf"), Ok(Duration::MAX));
        for text in ["", "s", "10x", "-1s", "1e400"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, want) in
            [("0", 0), ("4096", 4096), ("64KiB", 65536), ("64k", 65536), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(text), Ok(want), "{text}");
        }
        for text in ["", "k", "1.5k", "1TiB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_cannot_smuggle_a_second_one() {
        assert!("X: a\r\nY: b".parse::<Header>().is_err());
        assert_eq!("X:  a b ".parse::<Header>().unwrap().value, "a b");
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", secret("hunter2").unwrap()), "(redacted)");
    }

    #[test]
    fn a_pin_is_what_it_prints() {
        let pin = Pin([0xab; 32]);
        assert_eq!(pin.to_string().parse::<Pin>(), Ok(pin));
        assert!("sha256:abc".parse::<Pin>().is_err());
    }
}
