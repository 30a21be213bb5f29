//! Which web sites' pages may open a WebSocket.

use crate::site::Client;
use crate::support::{Running, Towline};

/// The answer to the WebSocket request of a page, or of a program if there is no Origin.
fn upgrade(server: &Running, host: &str, origin: Option<&str>) -> u16 {
    Client::new(server.port()).ask(&request(host, origin)).status
}

fn request(host: &str, origin: Option<&str>) -> String {
    let origin = origin.map_or(String::new(), |origin| format!("\r\nOrigin: {origin}"));
    format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=={origin}"
    )
}

fn serve(args: &[&str]) -> Running {
    Towline::serve(["ws://127.0.0.1:0"].iter().chain(args))
}

#[test]
fn toys_are_open_to_all_pages() {
    for target in ["echo:", "null:", "hub:"] {
        let server = serve(&[target]);
        assert_eq!(upgrade(&server, "a", Some("https://evil.example")), 101, "{target}");
    }
}

#[test]
fn what_reaches_this_machine_is_for_its_own_pages() {
    let server = serve(&["exec:cat"]);
    let here = format!("localhost:{}", server.port());
    let own = format!("http://{here}");
    for (host, origin, status) in [
        (&*here, None, 101),
        (&here, Some(&*own), 101),
        (&here, Some("https://evil.example"), 403),
        (&here, Some("http://localhost"), 403),
        (&here, Some("http://localhost:1"), 403),
        (&here, Some("null"), 403),
        (&here, Some(""), 403),
        // A foreign name that was made to resolve to 127.0.0.1.
        ("evil.example", Some("http://evil.example"), 403),
        ("127.0.0.1.evil.example:80", Some("http://127.0.0.1.evil.example"), 403),
        ("evil.example", None, 101),
        ("[::1]:80", Some("http://[::1]"), 101),
    ] {
        assert_eq!(upgrade(&server, host, origin), status, "{host} {origin:?}");
    }
    let two = request(&here, Some(&format!("{own}\r\nOrigin: https://evil.example")));
    assert_eq!(Client::new(server.port()).ask(&two).status, 403);
    let refusal = Client::new(server.port()).ask(&request(&here, Some("https://evil.example")));
    assert_eq!(
        refusal.is(403).text(),
        "pages of the Origin https://evil.example may not connect here\n\
         hint: towline serve --allow-origin https://evil.example lets them\n"
    );
}

#[test]
fn the_target_of_the_route_counts() {
    let server = serve(&["exec:cat", "--route", "/=echo:"]);
    assert_eq!(upgrade(&server, "a", Some("https://evil.example")), 101);
    for target in ["sh:cat", "file:/dev/null", "tcp://127.0.0.1:1", "-"] {
        let server = serve(&["echo:", "--route", &format!("/={target}")]);
        assert_eq!(upgrade(&server, "a", Some("https://evil.example")), 403, "{target}");
    }
}

#[test]
fn a_list_is_kept_to() {
    let list = "https://app.example,https://*.dev.example:8443,http://localhost:3000";
    for target in ["echo:", "exec:cat"] {
        let server = serve(&[target, "--allow-origin", list]);
        for (origin, status) in [
            (None, 101),
            (Some("https://app.example"), 101),
            (Some("https://APP.example:443"), 101),
            (Some("https://a.b.dev.example:8443"), 101),
            (Some("http://localhost:3000"), 101),
            (Some("http://app.example"), 403),
            (Some("https://dev.example:8443"), 403),
            (Some("https://a.dev.example"), 403),
            (Some("https://app.example.evil.example"), 403),
            (Some("http://a"), 403),
            (Some("null"), 403),
        ] {
            assert_eq!(upgrade(&server, "a", origin), status, "{target} {origin:?}");
        }
    }
    let server = serve(&["exec:cat", "--allow-origin", "*"]);
    assert_eq!(upgrade(&server, "a", Some("https://evil.example")), 101);
}

#[test]
fn a_malformed_list_is_refused() {
    let args = ["serve", "ws://127.0.0.1:0", "echo:", "--allow-origin", "app.example"];
    Towline::new().args(args).run().code(2).stderr_has("`app.example` is not an Origin");
}

#[test]
fn a_foreign_name_that_resolves_to_loopback_reads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "ours").unwrap();
    let files = ["--static", dir.path().to_str().unwrap()];
    let get = |server: &Running, path: &str, host: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close");
        Client::new(server.port()).ask(&request)
    };
    let origins = ["--allow-origin", "https://app.example"];
    let hosts = ["--allow-host", "chat.example"];
    let server = serve(&[&["exec:cat"], &files[..], &origins, &hosts].concat());
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:8010", 200),
        ("192.168.1.2", 200),
        ("[::1]:80", 200),
        ("chat.example", 200),
        ("app.example:8443", 421),
        ("app.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ] {
        for path in ["/a.txt", "/metrics"] {
            assert_eq!(get(&server, path, host).status, status, "{host}{path}");
        }
        get(&server, "/healthz", host).is(200);
    }
    assert_eq!(
        get(&server, "/a.txt", "evil.example:80").text(),
        "this server is not known as evil.example:80\n\
         hint: towline serve --allow-host evil.example lets it be called that\n"
    );
    // A foreign page has no password, so that there is nothing it could read.
    let users = dir.path().join("users");
    std::fs::write(&users, "ann:x\n").unwrap();
    let server = serve(&["echo:", "--basic-auth", users.to_str().unwrap()]);
    get(&server, "/metrics", "evil.example").is(401);
    let request = "GET /metrics HTTP/1.1\r\nHost: proxied.example\r\nAuthorization: Basic YW5uOng=";
    Client::new(server.port()).ask(request).is(200);
}

#[test]
fn a_reverse_proxy_may_pass_its_own_name_on() {
    let page = Some("https://chat.example");
    assert_eq!(upgrade(&serve(&["exec:cat"]), "chat.example", page), 403);
    let server = serve(&["exec:cat", "--allow-host", "chat.example"]);
    assert_eq!(upgrade(&server, "chat.example", page), 101);
    assert_eq!(upgrade(&server, "evil.example", Some("https://evil.example")), 403);
    let args = ["serve", "ws://127.0.0.1:0", "echo:", "--allow-host", "https://chat.example"];
    Towline::new().args(args).run().code(2).stderr_has("`https://chat.example` is not a host name");
}
