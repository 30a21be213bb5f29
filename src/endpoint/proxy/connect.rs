//! The HTTP method CONNECT (RFC 9110 section 9.3.6) with basic authentication (RFC 7617), both
//! parts of it.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use super::listening::{Outcome, last_words, say};
use super::{Login, Refusal};
use crate::duplex::ByteStream;
use crate::endpoint::HostPort;
use crate::error::{Error, Kind, Result};
use crate::http::{Fields, Request, Response, basic, read_request, read_response};

/// The largest head of an answer.
pub(super) const MAX_HEAD: usize = 16 << 10;

/// Asks the proxy at the other end of `stream` to connect it to `to`; what it said after its
/// answer is returned.
pub(super) async fn ask(
    stream: &mut ByteStream,
    to: &HostPort,
    login: Option<&Login>,
) -> Result<BytesMut, Refusal> {
    let mut request = Request {
        is_old: false,
        method: "CONNECT".into(),
        target: to.to_string(),
        fields: Fields::default(),
    };
    request.fields.push("Host", to.to_string());
    if let Some(login) = login {
        request.fields.push("Proxy-Authorization", login.basic());
    }
    say(stream, &request.to_bytes()).await?;
    let mut rest = BytesMut::new();
    let answer = read_response(stream, &mut rest, MAX_HEAD).await.map_err(|error| {
        Refusal::Proxy(match error.kind() {
            Kind::Protocol(_) => Error::new(Kind::Handshake, error.what()),
            _ => error,
        })
    })?;
    let Some(response) = answer else {
        let closed = "connection closed inside the proxy handshake";
        return Err(Refusal::Proxy(Error::new(Kind::Lost, closed)));
    };
    match response.status {
        // Lengths in such an answer mean nothing; the tunnel begins after the head.
        200..=299 => Ok(rest),
        407 => Err(Refusal::Login(challenge(&response, login.is_some()))),
        _ => Err(Refusal::Target(why(stream, &response, rest).await)),
    }
}

/// What to say of a 407.
fn challenge(response: &Response, tried: bool) -> String {
    let schemes = || response.fields.all("Proxy-Authenticate");
    let scheme = |value: &str| value.split(' ').next().unwrap_or_default().to_owned();
    if schemes().next().is_some() && !schemes().any(|it| scheme(it).eq_ignore_ascii_case("basic")) {
        let wanted: Vec<_> = schemes().map(scheme).collect();
        return format!(
            "the proxy asks for {} and not for basic authentication",
            wanted.join(", ")
        );
    }
    match tried {
        true => "the proxy refused the user name or the password (407)".to_owned(),
        false => "the proxy asks for a login (407)".to_owned(),
    }
}

/// The status of a refusal and the first line of its body.
async fn why(stream: &mut ByteStream, response: &Response, mut body: BytesMut) -> String {
    const PATIENCE: Duration = Duration::from_millis(500);
    const MOST: usize = 1 << 10;
    let length = response.fields.get("Content-Length").and_then(|it| it.parse().ok());
    let length = length.unwrap_or(MOST).min(MOST);
    let whole = async {
        while body.len() < length && !body.contains(&b'\n') {
            if stream.read_buf(&mut body).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(())
    };
    // Half a reason is better than none.
    let _ = tokio::time::timeout(PATIENCE, whole).await;
    let status = format!("{} {}", response.status, response.reason);
    let body = String::from_utf8_lossy(&body);
    match body.trim_start().lines().next().map(str::trim_end) {
        // A page for browsers says nothing in its first line.
        Some(line) if !line.starts_with('<') => format!("{}: {line}", status.trim_end()),
        _ => status.trim_end().to_owned(),
    }
}

/// Reads the request of a peer, up to the answer that [`outcome`] gives. `early` is what was read
/// of it before, and then what the peer said after it.
pub(super) async fn answer(
    stream: &mut ByteStream,
    early: &mut BytesMut,
    login: Option<&Login>,
    max: usize,
) -> Result<HostPort> {
    let request = match read_request(stream, early, max).await {
        Ok(Some(request)) => request,
        Ok(None) => return Err(Error::new(Kind::Lost, "connection closed before a request")),
        Err(error) => {
            if matches!(error.kind(), Kind::Protocol(_)) {
                let response = Response::new(400, "Bad Request");
                last_words(stream, &said(response, error.what())).await;
            }
            return Err(error);
        }
    };
    match decide(&request, login) {
        Ok(to) => Ok(to),
        Err((response, error)) => {
            last_words(stream, &said(response, error.what())).await;
            Err(error)
        }
    }
}

/// Where a request leads, or the answer to it and what to say of it.
fn decide(request: &Request, login: Option<&Login>) -> Result<HostPort, (Response, Error)> {
    if let Some(login) = login
        && !request.fields.get("Proxy-Authorization").is_some_and(|it| admits(login, it))
    {
        let response = Response::new(407, "Proxy Authentication Required")
            .with("Proxy-Authenticate", "Basic realm=\"towline\", charset=\"UTF-8\"");
        return Err((response, Error::new(Kind::Auth, "wrong or no user name and password")));
    }
    if request.method != "CONNECT" {
        let what = format!("{} {}: this proxy knows CONNECT only", request.method, request.target);
        let response = Response::new(405, "Method Not Allowed").with("Allow", "CONNECT");
        return Err((response, Error::new(Kind::Handshake, what)));
    }
    let to = HostPort::parse(&request.target, None).and_then(|to| match to.host.is_empty() {
        true => Err("a host is missing, as in host:443".to_owned()),
        false => Ok(to),
    });
    to.map_err(|why| (Response::new(400, "Bad Request"), Error::new(Kind::Handshake, why)))
}

fn admits(login: &Login, credentials: &str) -> bool {
    let Some(pair) = basic(credentials) else { return false };
    let colon = pair.iter().position(|&b| b == b':').unwrap_or(pair.len());
    login.admits(&pair[..colon], pair.get(colon + 1..).unwrap_or_default())
}

/// The answer to a request, once it is known what came of it.
pub(super) fn outcome(outcome: Outcome<'_>) -> Vec<u8> {
    match outcome {
        Outcome::Connected => Response::new(200, "Connection Established").to_bytes(),
        Outcome::Forbidden => said(Response::new(403, "Forbidden"), "not allowed"),
        Outcome::Failed(error) => {
            let response = match error.kind() {
                Kind::Timeout => Response::new(504, "Gateway Timeout"),
                _ => Response::new(502, "Bad Gateway"),
            };
            said(response, error.what())
        }
    }
}

/// An answer that ends the connection, with its reason as the body.
fn said(response: Response, why: &str) -> Vec<u8> {
    let body = format!("{why}\n");
    let response = response
        .with("Content-Type", "text/plain; charset=utf-8")
        .with("Content-Length", body.len().to_string())
        .with("Connection", "close");
    [response.to_bytes(), body.into()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str) -> Request {
        crate::http::parse_request(head.as_bytes()).unwrap().unwrap().0
    }

    fn status(head: &str, login: Option<&Login>) -> u16 {
        decide(&request(head), login).map_or_else(|(response, _)| response.status, |_| 200)
    }

    #[test]
    fn only_connect_to_a_host_and_port_is_accepted() {
        let to = decide(&request("CONNECT [::1]:443 HTTP/1.1\r\n\r\n"), None);
        assert_eq!(to.ok(), Some(HostPort { host: "::1".into(), port: 443 }));
        for (head, code) in [
            ("CONNECT db:5432 HTTP/1.1\r\n\r\n", 200),
            ("CONNECT db HTTP/1.1\r\n\r\n", 400),
            ("CONNECT :80 HTTP/1.1\r\n\r\n", 400),
            ("CONNECT db:99999 HTTP/1.1\r\n\r\n", 400),
            ("CONNECT http://db:80/ HTTP/1.1\r\n\r\n", 400),
            ("GET http://db/ HTTP/1.1\r\n\r\n", 405),
        ] {
            assert_eq!(status(head, None), code, "{head}");
        }
    }

    #[test]
    fn a_login_is_asked_for_before_anything_else_is_said() {
        let login = Login { user: "me".into(), password: "a:b".into() };
        let head = |credentials: &str| {
            format!("CONNECT db:1 HTTP/1.1\r\nProxy-Authorization: {credentials}\r\n\r\n")
        };
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n", Some(&login)), 407);
        assert_eq!(status(&head(&login.basic()), Some(&login)), 200);
        assert_eq!(status(&head(&login.basic().replace("Basic", "basic")), Some(&login)), 200);
        for wrong in ["Basic bWU=", "Basic bWU6YQ==", "Basic !", "Basic", "Bearer bWU6YTpi"] {
            assert_eq!(status(&head(wrong), Some(&login)), 407, "{wrong}");
        }
    }

    #[test]
    fn a_challenge_names_what_it_wants() {
        let response = |value: &str| Response::new(407, "").with("Proxy-Authenticate", value);
        assert!(challenge(&response("Negotiate"), true).contains("asks for Negotiate"));
        assert!(challenge(&response("Basic realm=\"x\""), true).contains("refused"));
        assert!(challenge(&Response::new(407, ""), false).contains("asks for a login"));
    }
}
