//! Heads on their way through: what is checked, taken out and put in.

use super::backend::Backend;
use super::client::{Client, OURS};
use crate::cli::ProxyArgs;
use crate::error::{Error, Kind};
use crate::http::body::Length;
use crate::http::{Fields, Request};
use crate::site::Answer;

/// What is about one connection, and not about the message (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
];

/// What a client cannot have us take out by naming it in its Connection.
const END_TO_END: [&str; 10] = [
    "Host",
    "Authorization",
    "Cookie",
    "Origin",
    "Content-Length",
    "Content-Type",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
];

/// Refuses what could be read in two ways, and brings the target into the usual form.
pub(super) fn check(request: &mut Request) -> Result<(), Answer> {
    let bad = |why: &str| Err(Answer::text(400, "Bad Request", format!("{why}\n")).closing());
    match request.fields.all("Host").count() {
        1 => {}
        0 if request.is_old => {}
        _ => return bad("one Host header is needed"),
    }
    if request.is_old && request.fields.get("Transfer-Encoding").is_some() {
        return bad("HTTP/1.0 knows no transfer coding");
    }
    if request.method == "CONNECT" {
        let what = "this is no proxy to connect through\n";
        return Err(Answer::text(405, "Method Not Allowed", what).closing());
    }
    if let Some((authority, path)) = absolute(&request.target) {
        request.fields.remove("Host");
        request.fields.push("Host", authority);
        request.target = path;
    }
    let anything = request.method == "OPTIONS" && request.target == "*";
    if !request.target.starts_with('/') && !anything {
        return bad("the request target starts with a slash");
    }
    // Whether it belongs to the path is read in two ways.
    if request.target.contains('#') {
        return bad("a request target has no fragment");
    }
    if !request.fields.get("Host").is_none_or(is_authority) {
        return bad("the Host is not that of a URL");
    }
    if let Err(error) = Length::of_request(request) {
        return match request.fields.get("Transfer-Encoding") {
            Some(_) => Err(Answer::text(
                501,
                "Not Implemented",
                "only the transfer coding chunked is known\n",
            )
            .closing()),
            None => bad(error.what()),
        };
    }
    let nominated = request.fields.list("Connection");
    let protected = |name: &&str| {
        let is = |it: &&str| same(it, name);
        OURS.iter().any(is) || END_TO_END.iter().any(is)
    };
    if let Some(name) = nominated.into_iter().find(protected) {
        return bad(&format!("Connection cannot name {name}"));
    }
    Ok(())
}

/// Whether these are characters of a host and a port (RFC 3986 section 3.2.2).
pub(super) fn is_authority(host: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%[]".contains(&byte);
    host.bytes().all(known)
}

/// Sends a client to the same place over TLS.
pub(super) fn redirect(request: &Request, port: u16) -> Answer {
    let host = request.fields.get("Host").unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => host,
        _ => host,
    };
    if host.is_empty() || !request.target.starts_with('/') {
        return Answer::text(400, "Bad Request", "a Host is needed\n");
    }
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let place = format!("https://{host}{port}{}", request.target);
    Answer::text(308, "Permanent Redirect", "only https: is served\n").with("Location", place)
}

/// The authority and the path of a target in absolute form (RFC 9112 section 3.2.2).
fn absolute(target: &str) -> Option<(String, String)> {
    let rest = ["http://", "https://", "ws://", "wss://"].iter().find_map(|scheme| {
        let start = target.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    })?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    if authority.is_empty() {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some((authority.to_owned(), path))
}

/// Whether two names are the same to servers that take `_` for `-`, as CGI does.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one.bytes().zip(other.bytes()).all(|(a, b)| {
            let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            plain(a) == plain(b)
        })
}

/// A copy without what is about the connection the head came by.
pub(super) fn stripped(fields: &Fields, unwanted: impl Fn(&str) -> bool) -> Fields {
    let nominated: Vec<_> = fields.list("Connection").collect();
    fields.filtered(|name| {
        !HOP_BY_HOP.iter().any(|it| same(it, name))
            && !nominated.iter().any(|it| it.eq_ignore_ascii_case(name))
            && !unwanted(name)
    })
}

/// The head for a backend, but for what is about the connection to it.
pub(super) fn outgoing(
    request: &Request,
    client: &Client,
    backend: &Backend,
    args: &ProxyArgs,
) -> Request {
    let spelt = |name: &str| name.contains('_') && END_TO_END.iter().any(|it| same(it, name));
    let mut fields = stripped(&request.fields, |name| {
        // The latter is answered here, when there is somebody to hear the rest.
        OURS.iter().any(|it| same(it, name)) || spelt(name) || same(name, "Expect")
    });
    if args.proxying.rewrite_host || fields.get("Host").is_none() {
        fields.remove("Host");
        fields.push("Host", backend.endpoint.authority());
    }
    client.tell(&mut fields);
    for header in &args.proxying.set_header {
        fields.retain(|name| !same(name, &header.name));
        if !header.value.is_empty() {
            fields.push(&header.name, header.value.clone());
        }
    }
    let target = match request.target.starts_with('/') {
        true => format!("{}{}", backend.endpoint.base(), request.target),
        false => request.target.clone(),
    };
    Request { is_old: false, method: request.method.clone(), target, fields }
}

/// What to tell a client whose request no backend has answered.
pub(super) fn unanswered(why: Option<&Error>) -> Answer {
    let Some(why) = why else {
        let wait = fastrand::u32(1..=5).to_string();
        return Answer::text(503, "Service Unavailable", "no backend is there for this\n")
            .with("Retry-After", wait);
    };
    match why.kind() {
        Kind::Timeout => Answer::text(504, "Gateway Timeout", "the backend took too long\n"),
        _ => Answer::text(502, "Bad Gateway", "the backend did not answer as it should\n"),
    }
}
