//! Clients of HTTP/2 at a reverse proxy whose backends speak HTTP/1.1: WebSockets by extended CONNECT
//! (RFC 8441), and plain requests.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::browser::Page as _;
use crate::support::chromium::Chromium;
use crate::support::{
    DEADLINE, Frame, Output, Running, Server, Towline, noise, peers, tcp_server, ws_server,
};

fn h2(scenario: &str, proxy: &Running, more: &[&str]) -> Towline {
    let scheme = if proxy.address().starts_with("https") { "wss" } else { "ws" };
    peers::python("h2_client.py")
        .args([scenario, &format!("{scheme}://127.0.0.1:{}/", proxy.port())])
        .args(more)
        .deadline(Duration::from_secs(60))
}

fn client(scenario: &str, proxy: &Running, more: &[&str]) -> Output {
    h2(scenario, proxy, more).run()
}

/// A proxy of cleartext before a backend.
#[track_caller]
fn proxy(backend: &str, flags: &[&str]) -> Running {
    let proxy = Towline::new().args(["proxy", "http://127.0.0.1:0", backend]).args(flags).spawn();
    proxy.ready();
    proxy
}

/// A proxy of TLS before a backend.
#[track_caller]
fn secure(backend: &str) -> Running {
    let args = ["proxy", "https://127.0.0.1:0", backend, "--tls-self-signed"];
    let proxy = Towline::new().args(args).spawn();
    proxy.ready();
    proxy
}

fn at(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port())
}

/// Reads a request up to the end of its head, and of a body in chunks.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut said = Vec::new();
    let mut byte = [0];
    let is_over = |said: &[u8]| {
        let text = String::from_utf8_lossy(said).to_lowercase();
        match text.contains("\r\ntransfer-encoding: chunked\r\n") {
            true => text.ends_with("\r\n0\r\n\r\n"),
            false => text.ends_with("\r\n\r\n"),
        }
    };
    while !is_over(&said) {
        match stream.read(&mut byte) {
            Ok(1) => said.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(said).unwrap())
}

#[test]
fn websockets_and_requests_go_through() {
    let site = TempDir::new().unwrap();
    fs::write(site.path().join("a.txt"), "x".repeat(300_000)).unwrap();
    let site = site.path().to_str().unwrap();
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:", "--page", "--static", site]);
    let backend = server.address();
    for proxy in [proxy(&backend, &[]), secure(&backend)] {
        for scenario in ["echo", "requests", "malformed"] {
            client(scenario, &proxy, &[]).code(0).stderr_is_empty();
        }
        // A client of HTTP/1.1 at the same port.
        let scheme = if proxy.address().starts_with("https") { "wss" } else { "ws" };
        let address = format!("{scheme}://127.0.0.1:{}/", proxy.port());
        for flags in [&["-k"][..], &["-k", "--http2"]] {
            let run = Towline::connect([&address]).args(flags).stdin("hello\n").run();
            run.code(0).stdout("hello\n");
        }
    }
}

#[test]
fn a_stream_that_stalls_stops_no_other() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let proxy = proxy(&server.address(), &[]);
    // There are the buffers of two sockets on the way.
    client("stalled", &proxy, &["35000000", "400"]).code(0).stderr_is_empty();
    assert!(proxy.memory("VmHWM") < 100_000, "{} KiB", proxy.memory("VmHWM"));
}

#[test]
fn floods_end_their_connection_only() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let proxy = proxy(&server.address(), &[]);
    for scenario in ["streams", "rapid_reset", "continuation"] {
        client(scenario, &proxy, &[]).code(0).stderr_is_empty();
    }
    let address = format!("ws://127.0.0.1:{}/", proxy.port());
    Towline::connect([&address]).stdin("fine\n").run().code(0).stdout("fine\n");
}

#[test]
fn a_backend_sees_an_upgrade_like_any_other() {
    let server = ws_server(|mut ws| {
        let head = ws.head.clone();
        ws.text(&head);
        while ws.recv().opcode() != Frame::CLOSE {}
        ws.close(1000, "");
    });
    let proxy = proxy(&at(&server), &[]);
    let lie = ["cookie:a=1", "cookie:b=2", "x-forwarded-for:6.6.6.6", "x_forwarded_for:6.6.6.6"];
    let key = "sec-websocket-key:AAAAAAAAAAAAAAAAAAAAAA==";
    let heard = client("granted", &proxy, &[&lie[..], &[key]].concat());
    heard.code(0).stdout_has("GET / HTTP/1.1\r\n");
    let host = format!("\r\nHost: 127.0.0.1:{}\r\n", proxy.port());
    for field in [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Sec-WebSocket-Key: ",
        "sec-websocket-version: 13\r\n",
        "Cookie: a=1; b=2\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        host.as_str(),
    ] {
        let count = String::from_utf8_lossy(&heard.stdout).matches(field).count();
        assert_eq!(count, 1, "{field}: {heard}");
    }
    for gone in [":protocol", "6.6.6.6", "AAAAAAAAAA", ":authority"] {
        assert!(!String::from_utf8_lossy(&heard.stdout).contains(gone), "{gone}: {heard}");
    }
}

#[test]
fn only_a_sound_101_grants_a_websocket() {
    for (answer, status) in [
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "502",
        ),
        // It would be a grant to a client of HTTP/2.
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n", "502"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n", "403"),
    ] {
        let server = tcp_server(move |mut stream| {
            while let Some(head) = read_request(&mut stream) {
                let fine = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                let answer = if head.contains("Upgrade: websocket") { answer } else { fine };
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        client("refused", &proxy(&at(&server), &[]), &[status]).code(0).stderr_is_empty();
    }
}

#[test]
fn bodies_go_both_ways() {
    let server = tcp_server(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let body = request.split("\r\n\r\n").nth(1).unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
        }
    });
    let said = client("late_end", &proxy(&at(&server), &[]), &[]);
    said.code(0).stdout_has("200 None").stdout_has("one ").stdout_has("three");
    // Large ones, with and without a length, at once, through curl.
    let mirror = peers::python("aiohttp_server.py").spawn();
    let proxy = secure(&mirror.address().replace("ws:", "http:"));
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("big");
    let big = noise(3 << 20);
    fs::write(&file, &big).unwrap();
    let url = format!("https://127.0.0.1:{}/mirror", proxy.port());
    for chunked in [false, true] {
        let more: &[&str] = if chunked { &["-H", "Transfer-Encoding: chunked"] } else { &[] };
        let asked = peers::program("curl")
            .args(["-sSk", "--http2", "-X", "POST", "--data-binary"])
            .arg(format!("@{}", file.display()))
            .args(more)
            .arg(&url)
            .run();
        asked.code(0).stdout_bytes(&big);
    }
}

#[test]
fn an_answer_that_is_cut_shows() {
    let server = tcp_server(|mut stream| {
        while let Some(head) = read_request(&mut stream) {
            let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole";
            let cut = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nand th";
            if head.starts_with("GET /cut") {
                stream.write_all(cut.as_bytes()).unwrap();
                return;
            }
            stream.write_all(whole.as_bytes()).unwrap();
        }
    });
    client("cut", &proxy(&at(&server), &[]), &[]).code(0).stderr_is_empty();
}

#[test]
fn a_backend_need_not_think_on_for_a_stream_that_was_reset() {
    let (asked, came) = mpsc::channel();
    let (gone, left) = mpsc::channel();
    let server = tcp_server(move |mut stream| {
        let Some(head) = read_request(&mut stream) else { return };
        if head.starts_with("GET /other") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        asked.send(()).unwrap();
        // Nothing is answered; the connection ends all the same.
        let _ = stream.read(&mut [0]);
        gone.send(()).unwrap();
    });
    let proxy = proxy(&at(&server), &[]);
    let mut client = h2("leave", &proxy, &[]).stdin_open().spawn();
    came.recv_timeout(DEADLINE).unwrap();
    client.write("\n");
    left.recv_timeout(DEADLINE).unwrap();
    client.write("\n");
    client.wait().code(0).stderr_is_empty();
}

#[test]
fn websockets_of_one_connection_count_like_others() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let proxy = |flags: &[&str]| proxy(&server.address(), flags);
    // One place is kept for the next connection.
    client("full", &proxy(&["--max-peers=4"]), &["3"]).code(0).stderr_is_empty();
    client("too_many", &proxy(&["--max-per-ip=3"]), &["3"]).code(0).stderr_is_empty();
}

#[test]
fn a_proxy_that_ends_says_goodbye_in_every_websocket() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let proxy = proxy(&server.address(), &[]);
    let mut client = h2("until_close", &proxy, &[]).spawn();
    client.read_until("open\n");
    proxy.signal(Signal::TERM);
    client.wait().code(0).stdout("open\n1001\n");
    proxy.wait().code(0);
}

#[test]
fn what_does_not_speak_http_can_be_a_backend() {
    let proxy = proxy("exec:cat", &["--access-log=text"]);
    client("granted", &proxy, &[]).code(0).stdout("None hello\n");
    proxy.stderr_line(|line| line.contains("-> exec:cat / in 5B/1 out 5B/1 close 1000 by client"));
}

#[test]
fn chromium_talks_through_it() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("index.html"), "<title>h2 here</title>").unwrap();
    let site = dir.path().to_str().unwrap();
    let server = Towline::serve(["ws://127.0.0.1:0/ws", "echo:", "--static", site]);
    let proxy = secure(&format!("http://127.0.0.1:{}", server.port()));
    let port = proxy.port();
    let browser = Chromium::open_insecure(&format!("https://127.0.0.1:{port}/"), "h2 here");
    let seen = browser.run(&format!(
        "
        const talk = number => new Promise(resolve => {{
            const ws = new WebSocket('wss://127.0.0.1:{port}/ws');
            const seen = [];
            ws.onopen = () => ws.send('x'.repeat(number));
            ws.onmessage = event => {{
                seen.push(event.data.length);
                ws.close(4001, 'bye');
            }};
            ws.onclose = event => resolve([event.wasClean, event.code, ...seen]);
        }});
        const all = await Promise.all([1, 1000, 300000].map(talk));
        const page = performance.getEntriesByType('navigation')[0].nextHopProtocol;
        return [page, ...all];
        "
    ));
    let each = |size| json!([true, 4001, size]);
    assert_eq!(seen, json!(["h2", each(1), each(1000), each(300_000)]));
}
