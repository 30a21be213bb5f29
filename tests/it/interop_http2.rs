//! WebSockets over HTTP/2 (RFC 8441) with others at either end: Chromium, curl, HAProxy, Hypercorn,
//! and Python's h2 frame by frame.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::{NamedTempFile, TempDir};

use crate::support::browser::Page;
use crate::support::certs::Issued;
use crate::support::chromium::Chromium;
use crate::support::firefox::Firefox;
use crate::support::{ClosedPort, Output, Running, Towline, noise, peers};

/// A scenario of Python's h2 against a server.
fn client(scenario: &str, server: &Running, more: &[&str]) -> Output {
    h2(scenario, &server.address(), more).run()
}

fn h2(scenario: &str, address: &str, more: &[&str]) -> Towline {
    peers::python("h2_client.py")
        .args([scenario, address])
        .args(more)
        .deadline(Duration::from_secs(60))
}

/// A server that plays tricks.
fn server(mode: &str) -> Running {
    peers::python("h2_server.py").arg(mode).spawn()
}

fn echo(flags: &[&str]) -> Running {
    Towline::serve(["ws://127.0.0.1:0/", "echo:"].iter().chain(flags))
}

fn secure_echo() -> Running {
    Towline::serve(["wss://127.0.0.1:0/", "echo:", "--tls-self-signed"])
}

#[test]
fn one_connection_brings_many_websockets() {
    for server in [echo(&[]), secure_echo()] {
        client("echo", &server, &[]).code(0).stderr_is_empty();
    }
}

#[test]
fn plain_requests_are_answered_as_ever() {
    let site = TempDir::new().unwrap();
    fs::write(site.path().join("a.txt"), "x".repeat(300_000)).unwrap();
    let site = site.path().to_str().unwrap();
    let server = Towline::serve([
        "wss://127.0.0.1:0/ws",
        "echo:",
        "--tls-self-signed",
        "--page",
        "--static",
        site,
        "--access-log=text",
    ]);
    client("requests", &server, &[]).code(0).stderr_is_empty();
    server.stderr_line(|line| line.ends_with("GET /a.txt 206 out 10B"));
    server.stderr_line(|line| line.contains("POST / 405"));
    let url = format!("https://127.0.0.1:{}/", server.port());
    for (flags, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let asked = peers::program("curl")
            .args(["-sSk", flags, "-o", "/dev/null", "-w", "%{http_version} %{http_code}\n", &url])
            .run();
        asked.code(0).stdout(&format!("{version} 200\n"));
    }
    let asked = peers::program("curl").args(["-sSki", "--http2", &format!("{url}ws")]).run();
    asked.code(0).stdout_has("HTTP/2 426").stdout_has("towline connect");
}

/// A file with one login.
fn users() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), "a:b\n").unwrap();
    file
}

#[test]
fn who_may_not_have_a_websocket_is_told_so() {
    let refused = |flags: &[&str], status: &str, fields: &[&str]| {
        let all: Vec<_> = [status].iter().chain(fields).copied().collect();
        client("refused", &echo(flags), &all)
    };
    let program = Towline::serve(["ws://127.0.0.1:0/", "exec:cat"]);
    let foreign = ["403", "origin:https://evil.example"];
    client("refused", &program, &foreign).code(0).stdout_has("may not");
    refused(&["--allow-origin=https://a.example"], "403", &["origin:https://b.example"]).code(0);
    let other = Towline::serve(["ws://127.0.0.1:0/there", "echo:"]);
    let address = format!("ws://127.0.0.1:{}/", other.port());
    h2("refused", &address, &["404"]).run().code(0).stdout_has("WebSockets are at");
    let users = users();
    let figures = echo(&["--basic-auth", users.path().to_str().unwrap()]);
    client("refused", &figures, &["401"]).code(0);
    let url = format!("http://a:b@127.0.0.1:{}/metrics", figures.port());
    let page = peers::program("curl").args(["-sS", &url]).run();
    page.stdout_has("towline_refused_total 1\n");
}

#[test]
fn what_is_granted_is_told() {
    let users = users();
    let users = users.path().to_str().unwrap();
    let server = echo(&["--subprotocol=chat", "--basic-auth", users, "--access-log=text"]);
    let fields = ["sec-websocket-protocol:other, chat", "authorization:Basic YTpi"];
    client("granted", &server, &fields).code(0).stdout("chat hello\n");
    server.stderr_line(|line| line.contains(" / 200 in 5B/1 out 5B/1 close 1000"));
}

#[test]
fn a_program_is_told_of_the_request() {
    let server = Towline::serve([
        "ws://127.0.0.1:0/",
        "exec:sh -c 'echo $REQUEST_METHOD $SERVER_PROTOCOL $REQUEST_URI $HTTP_COOKIE; cat'",
    ]);
    let fields = ["cookie:a=1", "cookie:b=2"];
    let heard = client("granted", &server, &fields);
    heard.stdout_has("GET HTTP/2.0 / a=1; b=2");
}

#[test]
fn malformed_requests_end_their_stream_only() {
    client("malformed", &echo(&[]), &[]).code(0).stderr_is_empty();
}

#[test]
fn a_stream_that_stalls_stops_no_other() {
    let server = echo(&[]);
    client("stalled", &server, &[]).code(0).stderr_is_empty();
    client("all_stalled", &server, &[]).code(0).stderr_is_empty();
    // Windows and buffers of a stream, not what its peer would like to send.
    assert!(server.memory("VmHWM") < 150_000, "{} KiB", server.memory("VmHWM"));
}

#[test]
fn floods_end_their_connection_only() {
    let server = echo(&[]);
    for scenario in ["streams", "rapid_reset", "continuation"] {
        client(scenario, &server, &[]).code(0).stderr_is_empty();
    }
    Towline::connect([&server.address(), "--http2"]).stdin("fine\n").run().stdout("fine\n").code(0);
}

#[test]
fn websockets_of_one_connection_are_peers_like_others() {
    // One place is kept for the next connection.
    client("full", &echo(&["--max-peers=4"]), &["3"]).code(0).stderr_is_empty();
}

#[test]
fn a_connection_that_is_idle_is_ended() {
    client("idle", &echo(&["--handshake-timeout=1s"]), &[]).code(0).stderr_is_empty();
}

#[test]
fn a_server_that_ends_says_goodbye_in_every_websocket() {
    let server = echo(&[]);
    let mut client = h2("until_close", &server.address(), &[]).spawn();
    client.read_until("open\n");
    server.signal(Signal::TERM);
    client.wait().code(0).stdout("open\n1001\n");
    server.wait().code(0);
}

#[test]
fn hypercorn_is_answered_in_kind() {
    let dir = TempDir::new().unwrap();
    let cert = Issued::self_signed(&["localhost"], |_| {});
    let (file, key) = cert.write(dir.path());
    let secure = peers::python("hypercorn_server.py").arg(file).arg(key).spawn();
    let plain = peers::python("hypercorn_server.py").spawn();
    for (server, first) in [(&secure, "HTTP/2 wss\n"), (&plain, "HTTP/2 ws\n")] {
        let at = |path: &str| format!("{}{path}", server.address());
        let run = |path: &str, more: &[&str]| {
            Towline::connect([&at(path), "--http2", "--pin", &cert.pin]).args(more).args(
                if server.address().starts_with("ws:") { &["--max-redirects=1"][..] } else { &[] },
            )
        };
        let big = noise(2 << 20);
        run("", &[]).stdin("one\n\ntwo").run().code(0).stdout(&format!("{first}one\n\ntwo\n"));
        run("", &["--subprotocol=chat"]).stdin("x\n").run().code(0);
        run("", &["--subprotocol=other"]).stdin("x\n").run().code(7).stderr_has("no subprotocol");
        run("", &[]).stdin("close\n").run().code(10).stderr_has("4001 enough");
        run("refuse", &[])
            .stdin_open()
            .run()
            .code(6)
            .stderr_has("HTTP 401")
            .stderr_has("log in first");
        let whole = ["--binary", "--frame=whole", "--count=2"];
        let mut wanted = first.trim().as_bytes().to_vec();
        wanted.extend_from_slice(&big);
        run("", &whole).stdin(big).run().code(0).stdout_bytes(wanted);
    }
}

#[test]
fn a_server_without_websockets_over_http2_is_told_apart() {
    let mute = server("mute");
    let refused = Towline::connect([&mute.address(), "--http2"]).stdin_open().run();
    refused.code(7).stderr_has("SETTINGS_ENABLE_CONNECT_PROTOCOL").stderr_has("--http2");
    let reset = Towline::connect([&server("reset").address(), "--http2"]).stdin_open().run();
    reset.code(7).stderr_has("INTERNAL_ERROR");
    let gone = Towline::connect([&server("goaway").address(), "--http2"]).stdin_open().run();
    gone.code(11).stderr_has("ENHANCE_YOUR_CALM");
    let cut = Towline::connect([&server("cut").address(), "--http2"]).stdin_open().run();
    cut.code(11).stderr_has("connection lost without a Close");
}

#[test]
fn a_request_says_what_it_says_over_http11() {
    let server = server("redirect");
    let flags = ["--http2", "--max-redirects=1", "--header=X-Own: mine", "--count=2"];
    let run = Towline::connect([&server.address()]).args(flags).stdin_open().run();
    let authority = format!("127.0.0.1:{} mine\n", server.port());
    run.code(0)
        .stdout_has("['CONNECT', 'websocket', 'http', '/there?x', None, None, None, None]\n");
    run.stdout_has(&authority);
    let crumbs = self::server("crumble");
    let run = Towline::connect([&crumbs.address(), "--http2", "--count=1"]).stdin_open().run();
    run.code(0).stdout("crumbs\n");
}

#[test]
fn websockets_to_one_place_share_a_connection_as_long_as_they_fit() {
    for (mode, connections) in [("connections", 1), ("one", 3)] {
        let server = server(mode);
        let address = server.address();
        let run = Towline::connect(["-", &address, &address, &address, "--http2", "--linger=3s"])
            .stdin("x\n")
            .run();
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        let of = |number| said.matches(&format!("connection {number} ")).count();
        let seen: Vec<_> = (1..=4).map(of).filter(|count| *count > 0).collect();
        assert_eq!(seen, vec![3 / connections; connections], "{mode}: {run}");
    }
}

/// Has a browser that shows the page of a server open five WebSockets to that, which must come over the
/// connection that the page came over.
#[track_caller]
fn websockets_share_the_connection_of_a_page<P: Page>(open: fn(&str) -> P, extension: &str) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("index.html"), "<title>h2 here</title>").unwrap();
    let server = Towline::serve([
        "wss://127.0.0.1:0/ws",
        "echo:",
        "--tls-self-signed",
        "--static",
        dir.path().to_str().unwrap(),
        "--access-log=text",
        "--subprotocol=chat",
        "--compress=auto",
    ]);
    let port = server.port();
    let page = open(&format!("https://127.0.0.1:{port}/"));
    let seen = page.run(&format!(
        "
        const talk = number => new Promise(resolve => {{
            const ws = new WebSocket('wss://127.0.0.1:{port}/ws', ['chat']);
            const seen = [];
            ws.onopen = () => ws.send('hello ' + number);
            ws.onmessage = event => {{
                seen.push(event.data.length);
                if (seen.length === 1) ws.send('x'.repeat(1000000));
                else ws.close(4001, 'bye');
            }};
            ws.onclose = event => resolve([ws.protocol, ws.extensions, event.wasClean, event.code, ...seen]);
        }});
        const all = await Promise.all([1, 2, 3, 4, 5].map(talk));
        const page = performance.getEntriesByType('navigation')[0].nextHopProtocol;
        return [page, ...all];
        "
    ));
    let each = json!(["chat", extension, true, 4001, 7, 1_000_000]);
    assert_eq!(seen, json!(["h2", each, each, each, each, each]));
    // From one address, and not over an upgrade.
    let peers: Vec<String> = (0..5)
        .map(|number| {
            let mut found = 0;
            let line = server.stderr_line(|line| {
                let left = line.contains(" /ws 200 ");
                found += usize::from(left);
                left && found > number
            });
            line.split(' ').next().unwrap().to_owned()
        })
        .collect();
    assert!(peers.iter().all(|it| *it == peers[0]), "{peers:?}");
}

#[test]
fn chromium_opens_websockets_on_the_connection_of_its_page() {
    let open = |url: &str| Chromium::open_insecure(url, "h2 here");
    let all = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    websockets_share_the_connection_of_a_page(open, all);
}

#[test]
fn firefox_opens_websockets_on_the_connection_of_its_page() {
    websockets_share_the_connection_of_a_page(Firefox::open_insecure, "permessage-deflate");
}

/// HAProxy before a server that is spoken to over HTTP/2.
fn haproxy(dir: &TempDir, server: &Running, tls: bool) -> (Running, String) {
    let port = ClosedPort::new();
    let to = if tls { "ssl verify none alpn h2" } else { "proto h2" };
    let conf = format!(
        "defaults
            mode http
            timeout connect 5s
            timeout client 20s
            timeout server 20s
        frontend in
            bind 127.0.0.1:{}
            default_backend out
        backend out
            server towline 127.0.0.1:{} {to}\n",
        port.port,
        server.port()
    );
    let file = dir.path().join(format!("haproxy-{tls}.cfg"));
    fs::write(&file, conf).unwrap();
    let running = peers::daemon(&port, peers::program("haproxy").args(["-db", "-f"]).arg(file));
    (running, format!("ws://127.0.0.1:{}/", port.port))
}

#[test]
fn haproxy_brings_its_clients_over_http2() {
    let dir = TempDir::new().unwrap();
    for (server, tls) in [(echo(&["-v"]), false), (secure_echo(), true)] {
        let (_haproxy, address) = haproxy(&dir, &server, tls);
        // A client of HTTP/1.1, whose upgrade HAProxy makes an extended CONNECT, and one of HTTP/2.
        for flags in [&[][..], &["--http2"]] {
            let run = Towline::connect([&address]).args(flags).stdin("one\n\ntwo").run();
            run.code(0).stdout("one\n\ntwo\n").stderr_is_empty();
            let big = noise(1 << 20);
            let whole = [&address, "--binary", "--frame=whole", "--count=1"];
            Towline::connect(whole).args(flags).stdin(big.clone()).run().code(0).stdout_bytes(big);
        }
        h2("echo", &address, &[]).run().code(0).stderr_is_empty();
    }
}
