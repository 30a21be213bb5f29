//! Heads of HTTP/2, to and from those that everybody else knows.

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};

use crate::error::{Error, Kind, Result};
use crate::http::{Fields, MAX_FIELDS, Refusal, Request, Response, trimmed};

/// What is about a connection of HTTP/1.1 (RFC 9113 section 8.2.2), or the key of an upgrade.
const NOT_SENT: [&str; 8] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Transfer-Encoding",
    "Upgrade",
    "Host",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Accept",
];

/// The request that has come; `whole` says that no body follows. The library has checked what RFC
/// 9113 section 8.3.1 and RFC 8441 section 4 say of pseudo-header fields, and that no field is about
/// a connection.
///
/// # Errors
/// What to answer it.
pub(super) fn request_from(parts: Parts, whole: bool) -> Result<Request, Refusal> {
    let bad = |what| Err(Refusal { status: 400, reason: "Bad Request", what });
    let is_websocket = match parts.extensions.get::<Protocol>() {
        None => false,
        Some(protocol) if protocol.as_str() == "websocket" => true,
        Some(_) => {
            let what = "the only protocol to CONNECT to is websocket";
            return Err(Refusal { status: 501, reason: "Not Implemented", what });
        }
    };
    if parts.headers.len() > MAX_FIELDS {
        let reason = "Request Header Fields Too Large";
        return Err(Refusal { status: 431, reason, what: "too many header fields" });
    }
    let mut fields = Fields::default();
    let authority = parts.uri.authority().map(|it| it.as_str());
    if authority.is_some_and(|it| it.contains('@')) {
        return bad("an :authority has no user");
    }
    match authority {
        Some(authority) if parts.headers.get_all(HOST).iter().all(|it| it == authority) => {
            fields.push("Host", authority);
        }
        Some(_) => return bad("the Host is not the :authority"),
        None => {}
    }
    for (name, value) in &parts.headers {
        match name.as_str() {
            "host" if authority.is_some() => {}
            // They may come in crumbs (RFC 9113 section 8.2.3).
            "cookie" => {}
            name => fields.push_sent(name, trimmed(value.as_bytes())),
        }
    }
    let crumbs: Vec<_> =
        parts.headers.get_all("cookie").iter().map(HeaderValue::as_bytes).collect();
    if !crumbs.is_empty() {
        fields.push_sent("Cookie", &crumbs.join(&b"; "[..]));
    }
    if fields.all("Content-Length").count() > 1 {
        return bad("a request has one length");
    }
    let method = if is_websocket {
        if fields.get("Content-Length").is_some() {
            return bad("a WebSocket request has no body");
        }
        // A key would have it taken for an upgrade of HTTP/1.1.
        fields.remove("Sec-WebSocket-Key");
        fields.push("Upgrade", "websocket");
        "GET".to_owned()
    } else {
        if !whole && fields.get("Content-Length").is_none() && parts.method != Method::CONNECT {
            fields.push("Transfer-Encoding", "chunked");
        }
        parts.method.as_str().to_owned()
    };
    let path = parts.uri.path_and_query().map(|it| it.as_str());
    let target = path.or(authority).unwrap_or_default().to_owned();
    Ok(Request { is_old: false, method, target, fields })
}

/// A request for a WebSocket as an extended CONNECT.
///
/// # Errors
/// [`Kind::Usage`] for a Host that HTTP/2 cannot say.
pub(super) fn request_to(request: &Request, secure: bool) -> Result<http::Request<()>> {
    let host = request.fields.get("Host").unwrap_or_default();
    let unsayable = |_| Error::new(Kind::Usage, format!("`{host}` is no Host to ask for"));
    let uri = Uri::builder()
        .scheme(if secure { "https" } else { "http" })
        .authority(host)
        .path_and_query(request.target.as_str())
        .build()
        .map_err(unsayable)?;
    let mut head = http::Request::new(());
    *head.method_mut() = Method::CONNECT;
    *head.uri_mut() = uri;
    *head.version_mut() = Version::HTTP_2;
    head.extensions_mut().insert(Protocol::from_static("websocket"));
    *head.headers_mut() = fields_to(&request.fields);
    Ok(head)
}

/// An answer to send.
pub(super) fn response_to(response: &Response) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::from_u16(response.status).unwrap_or_default();
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = fields_to(&response.fields);
    head
}

/// The answer that has come, with the reason that belongs to its status.
pub(super) fn response_from(head: &http::response::Parts) -> Response {
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(head.status.as_u16(), reason);
    for (name, value) in &head.headers {
        response.fields.push_sent(name.as_str(), trimmed(value.as_bytes()));
    }
    response
}

fn fields_to(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter_sent() {
        if NOT_SENT.iter().any(|it| it.eq_ignore_ascii_case(name)) {
            continue;
        }
        if name.eq_ignore_ascii_case("TE") && !value.eq_ignore_ascii_case(b"trailers") {
            continue;
        }
        // What was read by a parser can be said again.
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value)),
        ) {
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(
        build: impl FnOnce(http::request::Builder) -> http::request::Builder,
    ) -> Result<Request, Refusal> {
        let request = build(http::Request::builder()).body(()).unwrap();
        request_from(request.into_parts().0, true)
    }

    #[test]
    fn an_extended_connect_is_the_upgrade_that_it_stands_for() {
        let request = asked(|it| {
            it.method("CONNECT")
                .uri("https://a:1/x?y")
                .extension(Protocol::from_static("websocket"))
                .header("host", "a:1")
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .header("sec-websocket-key", "x")
        });
        let request = request.ok().unwrap();
        assert!(request.is_websocket() && request.is_extended_connect());
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/x?y"));
        assert_eq!(request.fields.all("Host").collect::<Vec<_>>(), ["a:1"]);
        assert_eq!(request.fields.all("Cookie").collect::<Vec<_>>(), ["a=1; b=2"]);
        let sent = request_to(&request, true).unwrap();
        assert_eq!(
            (sent.method(), sent.uri()),
            (&Method::CONNECT, &"https://a:1/x?y".parse().unwrap())
        );
        assert!(sent.headers().keys().eq(["cookie"]), "{sent:?}");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let status = |refused: Result<Request, Refusal>| refused.err().map(|it| it.status);
        let get = |uri| move |it: http::request::Builder| it.method("GET").uri(uri);
        assert_eq!(status(asked(|it| get("https://a/")(it).header("host", "b"))), Some(400));
        assert_eq!(status(asked(get("https://u@a/"))), Some(400));
        assert_eq!(
            status(asked(|it| {
                get("https://a/")(it).header("content-length", "1").header("content-length", "1")
            })),
            Some(400)
        );
        assert_eq!(
            status(asked(|it| {
                it.method("CONNECT").uri("https://a/").extension(Protocol::from_static("foo"))
            })),
            Some(501)
        );
        assert_eq!(status(asked(get("https://a/"))), None);
    }
}
