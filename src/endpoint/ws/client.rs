//! The client's part of the handshake: the request, its answer, redirects.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::socket::Socket;
use super::{BYTES, PLAIN, Scheme as _, Ws, carries_bytes, deflate, handshake, http2};
use crate::cli::value::Compress;
use crate::duplex::{ByteStream, Duplex};
use crate::endpoint::{Call, Ground, Shape, proxy};
use crate::error::{Error, Kind, Result};
use crate::framing;
use crate::http::{self, Fields, Request, Response};
use crate::report;
use crate::trace::{Phase, Term};

/// The largest answer head; the peer was chosen by the user, so there is no flag.
const MAX_HEAD: usize = 64 << 10;

/// How much of a refusal's body is shown, and how long it is waited for.
const BODY: usize = 512;
const BODY_TIME: Duration = Duration::from_secs(1);

/// Connects, following redirects.
pub(super) async fn connect(
    ws: &Ws,
    ground: Ground,
    call: &Call<'_>,
    compress: Compress,
) -> Result<Duplex> {
    let Upgraded { stream, read, bytes } = upgrade(ws, ground, call, compress).await?;
    let socket = Socket::new(stream, read, Role::Client, bytes, call.cx);
    Ok(match bytes {
        true => Duplex::Bytes(framing::as_bytes(Box::new(socket))),
        false => Duplex::Messages(Box::new(socket)),
    })
}

/// A stream on which WebSocket is spoken from here on.
pub(in crate::endpoint) struct Upgraded {
    pub(in crate::endpoint) stream: ByteStream,
    /// What came after the head of the answer already.
    pub(in crate::endpoint) read: Vec<u8>,
    /// Whether it was agreed that messages are no more than bytes.
    bytes: bool,
}

/// Plays the client's part of the handshake, following redirects. What is compressed on the wire
/// is not on the stream that this returns.
pub(super) async fn upgrade(
    ws: &Ws,
    ground: Ground,
    call: &Call<'_>,
    compress: Compress,
) -> Result<Upgraded> {
    let mut ws = ws.clone();
    let mut redirects = call.cx.shared.ws.max_redirects;
    // Credentials are for the host they were given for, not for one that it names.
    let mut trusted = true;
    let mut offered = Offers::new(call, compress);
    let here = matches!(ground, Ground::Here);
    let mut ground = Some(ground);
    loop {
        let ground = match ground.take().unwrap_or(Ground::Here) {
            Ground::Here => proxy::from_environment(ws.secure, &ws.host_port(), call).await?,
            ground => ground,
        };
        match attempt(&ws, ground, trusted, &offered, call).await {
            Ok(Attempt::Open(upgraded)) => return Ok(upgraded),
            // A server that will have none of our own subprotocols has them left out.
            Err(error) if error.kind() == Kind::Status(400) && offered.are_ours() && here => {
                offered.subprotocols.clear();
            }
            Err(error) => return Err(error),
            Ok(Attempt::Redirect(to)) if here && redirects > 0 => {
                redirects -= 1;
                let next = ws.redirected(&to)?;
                report::verbose(format_args!("{ws:#}: redirected to {next:#}"));
                trusted &= next.host_port() == ws.host_port() && next.secure >= ws.secure;
                ws = next;
            }
            Ok(Attempt::Redirect(to)) => {
                let status = call.trace.facts().response.as_ref().map_or(0, |it| it.status);
                let error =
                    Error::new(Kind::Status(status), format!("HTTP {status}, redirected to {to}"));
                return Err(match call.cx.shared.ws.max_redirects {
                    0 => error.hint("follow it with --max-redirects 5"),
                    most => {
                        error.hint(format_args!("{most} redirects were followed (--max-redirects)"))
                    }
                });
            }
        }
    }
}

pub(super) enum Attempt {
    Open(Upgraded),
    Redirect(String),
}

async fn attempt(
    ws: &Ws,
    ground: Ground,
    trusted: bool,
    offered: &Offers,
    call: &Call<'_>,
) -> Result<Attempt> {
    if call.cx.shared.ws.http2 {
        return http2::attempt(ws, ground, trusted, offered, call).await;
    }
    let mut stream = ws.open(ground, call).await?;
    let _upgrading = call.trace.enter(Phase::Upgrade);
    let key = generate_key();
    let request = ws.request(&key, offered, trusted, call);
    stream.write_all(&request.to_bytes()).await.map_err(Error::lost)?;
    stream.flush().await.map_err(Error::lost)?;

    let mut buf = BytesMut::new();
    let Some(response) =
        http::read_response(&mut stream, &mut buf, MAX_HEAD).await.map_err(wrong)?
    else {
        let error = Error::new(Kind::Lost, "the connection was closed without an HTTP answer");
        return Err(error.hint(
            "is there a WebSocket server at this port, and with this scheme (ws: or wss:)?",
        ));
    };
    call.trace.facts().response = Some(response.clone());
    if response.status != 101 {
        return refused(response, stream, buf, call).await;
    }
    handshake::check(&response, &key)?;
    agreed(ws, &request, &response, offered, stream, buf.to_vec(), call)
}

/// Takes what a sound answer grants of what a request offers.
pub(super) fn agreed(
    ws: &Ws,
    request: &Request,
    response: &Response,
    offered: &Offers,
    mut stream: ByteStream,
    mut read: Vec<u8>,
    call: &Call<'_>,
) -> Result<Attempt> {
    let unmet = |term, error| {
        call.trace.facts().unmet = Some(term);
        error
    };
    let compression = deflate::granted(&request.fields, &response.fields)
        .map_err(|error| unmet(Term::Extension, error))?;
    let granted = subprotocol(response, offered).map_err(|it| unmet(Term::Subprotocol, it))?;
    call.trace.facts().compression = compression;
    call.trace.facts().subprotocol = granted.map(str::to_owned);
    let bytes = granted == Some(BYTES);
    if let Some(terms) = &compression {
        report::verbose(format_args!("{ws:#}: compressing, {terms}"));
        let (early, limits) = (std::mem::take(&mut read), deflate::Limits::of(call.cx));
        let end = deflate::End::Client;
        stream = deflate::over(stream, &early, end, terms, offered.compress, limits);
    }
    Ok(Attempt::Open(Upgraded { stream, read, bytes }))
}

/// What answered is not a WebSocket server that keeps to HTTP.
fn wrong(error: Error) -> Error {
    match error.kind() {
        Kind::Protocol(_) => Error::new(Kind::Handshake, error.what()),
        _ => error,
    }
}

/// What is to be agreed on.
pub(super) struct Offers {
    /// One that is ours is never offered beside the user's own, whose server would have to choose
    /// between them.
    subprotocols: Vec<String>,
    compress: Compress,
}

impl Offers {
    fn new(call: &Call<'_>, compress: Compress) -> Self {
        let subprotocols = match call.near == Shape::Bytes && carries_bytes(call.cx) {
            true => vec![PLAIN.to_owned(), BYTES.to_owned()],
            false => call.cx.shared.ws.subprotocol.clone(),
        };
        Self { subprotocols, compress }
    }

    /// Whether the subprotocols are not the user's.
    fn are_ours(&self) -> bool {
        self.subprotocols.first().is_some_and(|first| first == PLAIN)
    }
}

impl Ws {
    pub(super) fn request(
        &self,
        key: &str,
        offered: &Offers,
        trusted: bool,
        call: &Call<'_>,
    ) -> Request {
        let args = &call.cx.shared.ws;
        let mut fields = Fields::default();
        let host = args.host.clone().filter(|_| trusted).unwrap_or_else(|| self.authority());
        fields.push("Host", host);
        fields.push("Upgrade", "websocket");
        fields.push("Connection", "Upgrade");
        fields.push("Sec-WebSocket-Version", "13");
        fields.push("Sec-WebSocket-Key", key);
        if !offered.subprotocols.is_empty() {
            fields.push("Sec-WebSocket-Protocol", offered.subprotocols.join(", "));
        }
        if offered.compress != Compress::Off {
            fields.push(deflate::FIELD, deflate::offer());
        }
        if let Some(origin) = &args.origin {
            fields.push("Origin", origin.clone());
        }
        if trusted {
            let login = args.user.as_ref().map(|user| user.reveal().to_owned());
            let login = login.or_else(|| self.login.as_ref().map(|login| decoded(login.reveal())));
            if let Some(login) = login {
                fields.push("Authorization", format!("Basic {}", STANDARD.encode(login)));
            } else if let Some(token) = &args.bearer {
                fields.push("Authorization", format!("Bearer {}", token.reveal()));
            }
            if !args.cookie.is_empty() {
                fields.push("Cookie", args.cookie.join("; "));
            }
        }
        const OWN: [&str; 4] = ["Authorization", "Proxy-Authorization", "Cookie", "Host"];
        let secret = |name: &str| OWN.iter().any(|it| it.eq_ignore_ascii_case(name));
        // A header of the user's takes the place of ours.
        let headers = args.header.iter().filter(|header| trusted || !secret(&header.name));
        headers.clone().for_each(|header| fields.remove(&header.name));
        headers.for_each(|header| fields.push(&header.name, header.value.clone()));
        if fields.get("User-Agent").is_none() {
            fields.push("User-Agent", concat!("towline/", env!("CARGO_PKG_VERSION")));
        }
        Request { is_old: false, method: "GET".into(), target: self.target(), fields }
    }

    /// Where a Location leads (RFC 9110 section 10.2.2).
    fn redirected(&self, location: &str) -> Result<Self> {
        let absolute = match location.split_once("://") {
            Some(("http" | "ws", rest)) => Self::parse("ws", &format!("//{rest}")),
            Some(("https" | "wss", rest)) => Self::parse("wss", &format!("//{rest}")),
            Some((scheme, _)) => Err(format!("{scheme}: is no scheme for a WebSocket")),
            None if location.starts_with("//") => Self::parse(self.scheme(), location),
            None if location.starts_with('/') => self.with_path(location.to_owned()),
            None => {
                let path = self.target();
                let folder = path.split('?').next().and_then(|path| path.rsplit_once('/'));
                let folder = folder.map_or("", |(folder, _)| folder);
                self.with_path(format!("{folder}/{location}"))
            }
        };
        absolute
            .map_err(|why| Error::new(Kind::Handshake, format!("redirected to {location}: {why}")))
    }
}

fn decoded(login: &str) -> String {
    percent_encoding::percent_decode_str(login).decode_utf8_lossy().into_owned()
}

/// The subprotocol that a sound 101 grants.
fn subprotocol<'a>(response: &'a Response, offered: &Offers) -> Result<Option<&'a str>> {
    let bad = |what: String| Err(Error::new(Kind::Handshake, what));
    let mut granted = response.fields.list("Sec-WebSocket-Protocol");
    match (granted.next(), granted.next()) {
        // Some servers send back what they were offered, as it is.
        (Some(PLAIN), Some(BYTES)) if offered.are_ours() => Ok(None),
        (Some(_), Some(_)) => bad("more than one subprotocol was granted".into()),
        (Some(one), None) if !offered.subprotocols.iter().any(|it| it == one) => {
            bad(format!("the subprotocol {one} was granted but never offered"))
        }
        (None, _) if !offered.subprotocols.is_empty() && !offered.are_ours() => {
            let error = Error::new(
                Kind::Handshake,
                format!("no subprotocol of {} was granted", offered.subprotocols.join(", ")),
            );
            Err(error
                .hint("the server does not know it; leave out --subprotocol to connect without"))
        }
        (granted, _) => Ok(granted),
    }
}

/// Any answer that grants nothing: says what it was, with the first bytes of its body.
pub(super) async fn refused(
    response: Response,
    mut stream: ByteStream,
    mut buf: BytesMut,
    call: &Call<'_>,
) -> Result<Attempt> {
    if (300..400).contains(&response.status)
        && let Some(location) = response.fields.get("Location")
    {
        return Ok(Attempt::Redirect(location.to_owned()));
    }
    let length = response.fields.get("Content-Length").and_then(|len| len.parse().ok());
    let wanted = length.unwrap_or(BODY).min(BODY);
    let body =
        async { while buf.len() < wanted && matches!(stream.read_buf(&mut buf).await, Ok(1..)) {} };
    // A body that does not come is no reason to wait for the connect timeout.
    let _ = tokio::time::timeout(BODY_TIME, body).await;
    buf.truncate(wanted);
    let body = String::from_utf8_lossy(&buf).into_owned();
    let first = body.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut what = format!("HTTP {}", response.status);
    for more in [response.reason.as_str(), first] {
        if !more.is_empty() {
            what = format!("{what}{}{more}", if what.len() > 8 { ": " } else { " " });
        }
    }
    let error = Error::new(Kind::Status(response.status), what);
    call.trace.facts().body = body;
    Err(match response.status {
        401 => error.hint("log in with --user, --bearer or -H 'Authorization: …'"),
        403 => error.hint("the server may want another --origin, or a login"),
        404 => error.hint("is the path of the address right?"),
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let ws = Ws::parse("wss", "//a:8443/x/y?z").unwrap();
        for (location, want) in [
            ("/b", "wss://a:8443/b"),
            ("b?c", "wss://a:8443/x/b?c"),
            ("//b/c", "wss://b/c"),
            ("http://b", "ws://b"),
            ("https://b:1/", "wss://b:1/"),
            ("/b#part", "wss://a:8443/b"),
        ] {
            assert_eq!(ws.redirected(location).unwrap().to_string(), want);
        }
        assert!(ws.redirected("ftp://b").is_err());
        assert!(ws.redirected("/b HTTP/1.1").is_err(), "a request line holds no spaces");
    }
}
