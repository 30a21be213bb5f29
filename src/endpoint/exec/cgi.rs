//! What a child is told about the peer it serves: the meta-variables of CGI/1.1 (RFC 3875
//! section 4.1) in its environment.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;

use percent_encoding::percent_decode_str;
use tokio::process::Command;

use crate::accept::Peer;
use crate::endpoint::{Call, HostPort};
use crate::http::{Request, basic};

/// The variables that may be said of a peer, besides those of its headers.
const NAMES: &[&str] = &[
    "AUTH_TYPE",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "GATEWAY_INTERFACE",
    "HTTPS",
    "PATH_INFO",
    "PATH_TRANSLATED",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_IDENT",
    "REMOTE_PORT",
    "REMOTE_USER",
    "REQUEST_METHOD",
    "REQUEST_URI",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "TOWLINE_PEER",
    "UNIQUE_ID",
];

/// Describes the peer of a call, if there is one, in the environment of a command.
pub(super) fn describe(call: &Call<'_>, command: &mut Command) {
    let Some(peer) = call.peer else { return };
    // What we have inherited was said of somebody else, and a script would trust it.
    for name in NAMES {
        command.env_remove(name);
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HTTP_") && name != "HTTP_PROXY") {
            command.env_remove(name);
        }
    }
    let checked = call.cx.serve.as_ref().is_some_and(|serve| serve.http.basic_auth.is_some());
    command.envs(variables(peer, checked));
}

/// The variables; `checked` says whether the password of the request was.
fn variables(peer: &Peer, checked: bool) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut set = |name: &str, value: String| {
        // A zero byte cannot be in an environment; nothing honest has one.
        if !value.contains('\0') {
            all.insert(name.to_owned(), value);
        }
    };
    set("GATEWAY_INTERFACE", "CGI/1.1".into());
    set("SERVER_SOFTWARE", concat!("towline/", env!("CARGO_PKG_VERSION")).into());
    set("TOWLINE_PEER", peer.address.clone());
    set("UNIQUE_ID", format!("{:032x}", fastrand::u128(..)));
    match peer.address.parse::<SocketAddr>() {
        Ok(from) => {
            let ip = from.ip().to_canonical().to_string();
            set("REMOTE_HOST", ip.clone());
            set("REMOTE_ADDR", ip);
            set("REMOTE_PORT", from.port().to_string());
        }
        Err(_) => {
            set("REMOTE_HOST", peer.address.clone());
            set("REMOTE_ADDR", peer.address.clone());
        }
    }
    let local = peer.local.parse::<SocketAddr>().ok();
    let asked = peer.request.as_ref().and_then(|request| request.fields.get("Host"));
    let asked = asked.and_then(|host| HostPort::parse(host, Some(0)).ok()).map(|host| host.host);
    let ours = || local.map_or_else(|| peer.local.clone(), |local| local.ip().to_string());
    set("SERVER_NAME", asked.filter(|host| !host.is_empty()).unwrap_or_else(ours));
    if let Some(local) = local {
        set("SERVER_PORT", local.port().to_string());
    }
    if peer.tls {
        set("HTTPS", "on".into());
    }
    if let Some(request) = &peer.request {
        let version = if request.is_extended_connect() { "HTTP/2.0" } else { "HTTP/1.1" };
        set("SERVER_PROTOCOL", version.into());
        set("REQUEST_METHOD", request.method.clone());
        set("REQUEST_URI", request.target.clone());
        // The program is at the root, so that all of the path is what follows its own.
        set("SCRIPT_NAME", String::new());
        set("PATH_INFO", percent_decode_str(request.path()).decode_utf8_lossy().into_owned());
        set("QUERY_STRING", request.query().to_owned());
        if let Some(user) = user(request).filter(|_| checked) {
            set("AUTH_TYPE", "Basic".into());
            set("REMOTE_USER", user);
        }
        for (name, value) in headers(request) {
            set(&name, value);
        }
    }
    all
}

/// The request's headers as variables, fields of one name joined.
fn headers(request: &Request) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in request.fields.iter() {
        // With an underscore it could pass for another header's variable.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            continue;
        }
        let name = name.to_ascii_uppercase().replace('-', "_");
        // HTTP_PROXY would redirect what the child requests (CVE-2016-5385, "httpoxy"); secrets
        // are ours to check (RFC 3875 section 4.1.18); the rest has variables without a prefix.
        if matches!(
            &*name,
            "PROXY" | "AUTHORIZATION" | "PROXY_AUTHORIZATION" | "CONTENT_LENGTH" | "CONTENT_TYPE"
        ) {
            continue;
        }
        let separator = if name == "COOKIE" { "; " } else { ", " };
        all.entry(format!("HTTP_{name}"))
            .and_modify(|before| {
                before.push_str(separator);
                before.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    all
}

/// The login of HTTP basic authentication.
fn user(request: &Request) -> Option<String> {
    let login = String::from_utf8(basic(request.fields.get("Authorization")?)?).ok()?;
    login.split_once(':').map(|(user, _)| user.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::parse_request;

    fn peer(head: &str) -> Peer {
        let head = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
        let (request, _) = parse_request(head.as_bytes()).unwrap().unwrap();
        Peer {
            address: "[::ffff:192.0.2.7]:4711".into(),
            local: "127.0.0.1:8010".into(),
            request: Some(Arc::new(request)),
            ..Peer::default()
        }
    }

    #[test]
    fn a_request_becomes_variables() {
        let said = variables(&peer("GET /a%20b/c?x=%31 HTTP/1.1\nHost: example.org:80"), false);
        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("HTTP_HOST", "example.org:80"),
            ("PATH_INFO", "/a b/c"),
            ("QUERY_STRING", "x=%31"),
            ("REMOTE_ADDR", "192.0.2.7"),
            ("REMOTE_PORT", "4711"),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/a%20b/c?x=%31"),
            ("SCRIPT_NAME", ""),
            ("SERVER_NAME", "example.org"),
            ("SERVER_PORT", "8010"),
            ("TOWLINE_PEER", "[::ffff:192.0.2.7]:4711"),
        ] {
            assert_eq!(said.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(said.get("HTTPS"), None);
        assert!(said.keys().all(|name| NAMES.contains(&&**name) || name.starts_with("HTTP_")));
    }

    #[test]
    fn headers_are_joined_and_the_dangerous_ones_left_out() {
        let said = variables(
            &peer(
                "GET /%00 HTTP/1.1\nX-A: 1\nx-a: 2\nX_A: 3\nCookie: a=1\nCookie: b=2\n\
                 Proxy: evil\nAuthorization: Basic amFuZTpzZWNyZXQ=\nContent-Type: x",
            ),
            false,
        );
        let headers: Vec<_> = said.iter().filter(|(name, _)| name.starts_with("HTTP")).collect();
        let (a, cookie) = ("HTTP_X_A".to_owned(), "HTTP_COOKIE".to_owned());
        assert_eq!(headers, [(&cookie, &"a=1; b=2".to_owned()), (&a, &"1, 2".to_owned())]);
        for name in ["PATH_INFO", "REMOTE_USER", "CONTENT_TYPE"] {
            assert_eq!(said.get(name), None, "{name}");
        }
    }

    #[test]
    fn only_a_checked_login_is_a_remote_user() {
        let peer = peer("GET / HTTP/1.1\nAuthorization: basic amFuZTpzZWNyZXQ=");
        assert_eq!(variables(&peer, true)["REMOTE_USER"], "jane");
        assert_eq!(variables(&peer, false).get("REMOTE_USER"), None);
    }
}
