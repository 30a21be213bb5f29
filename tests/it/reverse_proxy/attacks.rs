//! What clients and backends try to get past a proxy: each of them sends the bytes themselves.

use std::sync::{Arc, Mutex};
use std::thread;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What must never reach a backend as a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// Fields that servers read in different ways, and the status they are refused with.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    ("400", "Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("400", "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
    ("400", "Host: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n"),
    ("400", "Host: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n"),
    ("400", "Host: x\r\nContent-Length: 5, 5\r\n"),
    ("400", "Host: x\r\nContent-Length: +5\r\n"),
    ("400", "Host: x\r\nContent-Length: -1\r\n"),
    ("400", "Host: x\r\nContent-Length: 0x5\r\n"),
    ("400", "Host: x\r\nContent-Length: 99999999999999999999\r\n"),
    ("501", "Host: x\r\nTransfer-Encoding: xchunked\r\n"),
    ("501", "Host: x\r\nTransfer-Encoding: chunked, identity\r\n"),
    ("501", "Host: x\r\nTransfer-Encoding: , chunked\r\n"),
    ("501", "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n"),
    ("501", "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ("501", "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("501", "Host: x\r\nTransfer-Encoding: \"chunked\"\r\n"),
    ("400", "Host: x\r\nTransfer-Encoding : chunked\r\n"),
    ("400", "Host: x\r\nTransfer-Encoding\t: chunked\r\n"),
    ("400", "Host: x\r\nTransfer-Encoding: \x0bchunked\r\n"),
    ("400", "Host: x\r\nTransfer-Encoding:\r\n chunked\r\n"),
    ("400", "Host: x\r\nX: a\r\n\tb\r\n"),
    ("400", " X: a\r\nHost: x\r\n"),
    ("400", "Host: x\r\nHost: y\r\n"),
    ("400", "X: a\r\n"),
    ("400", "Host: a b\r\n"),
    ("400", "Host: a/b\r\n"),
    ("400", "Host: a@b\r\n"),
    ("400", "Host: x\nX: a\r\n"),
    ("400", "Host: x\r\nX: a\rb\r\n"),
    ("400", "Host: x\r\nX: a\0b\r\n"),
    ("400", "Host: x\r\n: a\r\n"),
    ("400", "Host: x\r\nX(: a\r\n"),
    ("400", "Host: x\r\nno colon\r\n"),
];

/// The same of the first line.
pub(crate) const LINES: &[(&str, &str)] = &[
    ("400", "GET  / HTTP/1.1"),
    ("400", "GET / HTTP/1.1 "),
    ("400", "GET / HTTP/2.0"),
    ("400", "GET / HTTP/1.2"),
    ("400", "GET /"),
    ("400", "GET x HTTP/1.1"),
    ("400", "GET /a#b HTTP/1.1"),
    ("400", "GET http:///a HTTP/1.1"),
    ("400", "GET http://u@x/ HTTP/1.1"),
    ("400", "GET ftp://x/ HTTP/1.1"),
    ("400", "\nGET / HTTP/1.1"),
    ("400", "G(T / HTTP/1.1"),
    ("405", "CONNECT x:80 HTTP/1.1"),
    ("400", "\x16\x03\x01\x02"),
];

/// The head of a good upgrade, and more lines.
fn upgrade(more: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

/// A 101 with these lines; `ACCEPT` in them is the right one.
fn switching(lines: &str) -> String {
    let accept = derive_accept_key(KEY.as_bytes());
    format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n", lines.replace("ACCEPT", &accept))
}

/// Sends a request, reads the head of its answer, sends another one as if a tunnel were open, and
/// returns what the client was told, and all that the backend was.
#[track_caller]
fn attack(answer: &str, request: impl AsRef<[u8]>, flags: &[&str]) -> (String, String) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (hears, answer) = (heard.clone(), answer.to_owned());
    let server = tcp_server(move |mut stream| {
        let mut answered = false;
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut chunk) {
            let mut hears = hears.lock().unwrap();
            hears.extend_from_slice(&chunk[..len]);
            if hears.windows(9).any(|it| it == b"/smuggled") {
                return;
            }
            if !answered && hears.windows(4).any(|it| it == b"\r\n\r\n") {
                answered = stream.write_all(answer.as_bytes()).is_ok();
            }
        }
    });
    let proxy = proxy(&[&[&*backend(&server)], flags].concat());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.set_read_timeout(Some(support::DEADLINE)).unwrap();
    client.write_all(request.as_ref()).unwrap();
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"\r\n\r\n") && matches!(client.read(&mut byte), Ok(1)) {
        said.push(byte[0]);
    }
    let _ = client.write_all(SMUGGLED.as_bytes());
    let _ = client.read_to_end(&mut said);
    drop((proxy, server));
    let heard = heard.lock().unwrap();
    (String::from_utf8_lossy(&said).into(), String::from_utf8_lossy(&heard).into())
}

#[track_caller]
fn is_answered(said: &str, status: &str) {
    assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "not {status}: {said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "more than one answer: {said}");
    assert!(said.to_lowercase().contains("close\r\n"), "the connection stays: {said}");
}

#[test]
fn a_101_has_to_be_the_answer_to_what_was_asked() {
    let good = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n";
    let offer = "Sec-WebSocket-Protocol: chat\r\n";
    for (what, lines, asked) in [
        ("no Accept", "Upgrade: websocket\r\nConnection: Upgrade\r\n", ""),
        ("another Accept", &*good.replace("ACCEPT", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="), ""),
        ("two Accepts", &format!("{good}Sec-WebSocket-Accept: x\r\n"), ""),
        ("no Upgrade", "Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n", ""),
        ("no Connection", "Upgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n", ""),
        ("another protocol", &good.replace("websocket", "h2c"), ""),
        ("one protocol more", &good.replace("websocket", "websocket, h2c"), ""),
        ("a subprotocol", &format!("{good}{offer}"), ""),
        ("another subprotocol", &format!("{good}Sec-WebSocket-Protocol: x\r\n"), offer),
        ("two subprotocols", &format!("{good}{offer}{offer}"), offer),
        ("an extension", &format!("{good}Sec-WebSocket-Extensions: x-own; a=b\r\n"), offer),
    ] {
        let (said, heard) = attack(&switching(lines), upgrade(asked), &[]);
        is_answered(&said, "502");
        assert!(!heard.contains("/smuggled"), "{what} opens a tunnel");
    }
    let old = switching(good).replace("HTTP/1.1", "HTTP/1.0");
    let (said, heard) = attack(&old, upgrade(""), &[]);
    is_answered(&said, "502");
    assert!(!heard.contains("/smuggled"), "HTTP/1.0 opens a tunnel");
}

#[test]
fn what_was_offered_may_be_granted() {
    let grant = "Upgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\
                 Sec-WebSocket-Protocol: b\r\nContent-Length: 5\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    let offer = "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate; \
                 client_max_window_bits\r\n";
    let (said, _) = attack(&switching(grant), upgrade(offer), &[]);
    assert!(said.starts_with("HTTP/1.1 101 "), "{said}");
    assert!(said.contains("Sec-WebSocket-Protocol: b\r\n"), "{said}");
    assert!(said.contains("server_no_context_takeover\r\n"), "{said}");
    assert!(!said.contains("Content-Length"), "a 101 has no body: {said}");
}

#[test]
fn an_upgrade_that_is_none_reaches_no_backend() {
    let good = upgrade("");
    for (status, request) in [
        ("400", good.replace("GET", "POST")),
        ("400", good.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello")),
        ("400", good.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("426", good.replace("Version: 13", "Version: 777")),
        ("426", good.replace("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8")),
        ("426", good.replace("Sec-WebSocket-Version: 13\r\n", "")),
        ("400", good.replace(&format!("Sec-WebSocket-Key: {KEY}\r\n"), "")),
        ("400", good.replace(KEY, "c2hvcnQ=")),
        ("400", good.replace(KEY, "not base64 at all!!!!!!!")),
        ("400", upgrade(&format!("Sec-WebSocket-Key: {KEY}\r\n"))),
        ("400", good.replace("Upgrade: websocket", "Upgrade: websocket, h2c")),
        ("400", good.replace("Connection: Upgrade\r\n", "")),
        ("400", good.replace("Connection: Upgrade", "Connection: Upgrade, X-Forwarded-For")),
        ("400", good.replace("Connection: Upgrade", "Connection: Upgrade, x_real_ip")),
        ("400", good.replace("Connection: Upgrade", "Connection: Upgrade, Sec-WebSocket-Key")),
        ("400", good.replace("Host: x\r\n", "")),
    ] {
        let fake = switching("Upgrade: websocket\r\nConnection: Upgrade\r\n");
        let (said, heard) = attack(&fake, &request, &[]);
        is_answered(&said, status);
        assert_eq!(heard, "", "a backend hears {request}");
        if status == "426" {
            assert!(said.contains("Sec-WebSocket-Version: 13\r\n"), "{said}");
        }
    }
}

#[test]
fn no_other_protocol_is_upgraded_to() {
    for protocol in ["h2c", "TLS/1.0", "foo", "websockets", "websocket/13"] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: {protocol}\r\n\
             Connection: close, Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        );
        let answer = switching(&format!("Upgrade: {protocol}\r\nConnection: Upgrade\r\n"));
        let (said, heard) = attack(&answer, request, &[]);
        assert!(said.starts_with("HTTP/1.1 502 "), "{protocol}: {said}");
        assert!(!heard.contains("Upgrade") && !heard.contains("HTTP2"), "{protocol}: {heard}");
    }
}

#[test]
fn a_101_that_nobody_asked_for_opens_nothing() {
    let answer = switching("Upgrade: websocket\r\nConnection: Upgrade\r\n");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (said, heard) = attack(&answer, request, &[]);
    is_answered(&said, "502");
    assert!(!heard.contains("/smuggled"), "{heard}");
}

#[test]
fn nothing_goes_on_before_the_101_and_nothing_is_taken_for_a_request() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    ] {
        for early in ["", SMUGGLED] {
            let (said, heard) = attack(answer, upgrade("") + early, &[]);
            is_answered(&said, &answer[9..12]);
            assert!(!heard.contains("/smuggled"), "{heard}");
        }
    }
}

#[test]
fn heads_that_can_be_read_in_two_ways_reach_no_backend() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for (status, fields) in FIELDS {
        let (said, heard) = attack(ok, format!("POST / HTTP/1.1\r\n{fields}\r\n"), &[]);
        is_answered(&said, status);
        assert_eq!(heard, "", "a backend hears {fields:?}");
    }
    for (status, line) in LINES {
        let (said, heard) = attack(ok, format!("{line}\r\nHost: x\r\n\r\n"), &[]);
        is_answered(&said, status);
        assert_eq!(heard, "", "a backend hears {line:?}");
    }
}

#[test]
fn answers_that_can_be_read_in_two_ways_reach_no_client() {
    for head in [
        "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "200 OK\r\nContent-Length: +5\r\n",
        "200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        "200 OK\r\nX: a\r\n b\r\n",
        "200 OK\r\nX : a\r\n",
        "200 OK\nX: a\r\n",
        "20 OK\r\n",
    ] {
        let answer = format!("HTTP/1.1 {head}\r\nhello");
        let request =
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let (said, _) = attack(&answer, request, &[]);
        is_answered(&said, "502");
    }
}

#[test]
fn heads_that_are_too_large_are_refused_while_they_come() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let long = "x".repeat(20_000);
    for request in [
        format!("GET /{long} HTTP/1.1\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}"),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}", "X: a\r\n".repeat(4000)),
        "\r\n".repeat(10_000),
    ] {
        let (said, heard) = attack(ok, &request, &[]);
        assert!(said.starts_with("HTTP/1.1 4"), "{said}");
        is_answered(&said, if said.contains(" 431 ") { "431" } else { "400" });
        assert_eq!(heard, "");
    }
    let fits = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: {long}\r\n\r\n");
    let (said, _) = attack(ok, fits, &["--max-header=64KiB"]);
    is_answered(&said, "200");
}

#[test]
fn those_who_send_their_heads_slowly_make_room_for_others() {
    let server = answers(|_, _| ok("at last"));
    let backend = backend(&server);
    let proxy = proxy(&[&backend, "--max-handshakes=2", "--handshake-timeout=300ms"]);
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut slow = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
            slow.set_read_timeout(Some(support::DEADLINE)).unwrap();
            slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: ").unwrap();
            let mut answer = slow.try_clone().unwrap();
            // A byte now and then is no progress.
            thread::spawn(move || {
                while slow.write_all(b"a").is_ok() {
                    thread::sleep(std::time::Duration::from_millis(20));
                }
            });
            thread::spawn(move || {
                let mut said = Vec::new();
                let _ = answer.read_to_end(&mut said);
                String::from_utf8(said).unwrap()
            })
        })
        .collect();
    let answer = exchange(proxy.port(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.ends_with("at last"), "{answer}");
    for slow in slow {
        is_answered(&slow.join().unwrap(), "408");
    }
}

#[test]
fn underscores_are_no_way_around_what_is_taken_out() {
    let server = answers(|head, _| ok(head));
    let proxy = proxy(&[&backend(&server), "--set-header=X-User: nobody"]);
    let fields = "Transfer_Encoding: chunked\r\nContent_Length: 5\r\nX_Forwarded_Proto: https\r\n\
                  X_User: root\r\nx_real-ip: 6.6.6.6\r\nProxy_Authorization: Basic x\r\n\
                  Host_: y\r\nMy_Own: kept\r\n";
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    let answer = exchange(proxy.port(), request);
    for gone in ["Transfer_", "Content_", "https", "root", "6.6.6.6", "Basic"] {
        assert!(!answer.contains(gone), "{gone} is there: {answer}");
    }
    assert!(answer.contains("My_Own: kept\r\n") && answer.contains("X-User: nobody\r\n"));
}

#[test]
fn a_body_that_lies_about_its_length_is_no_second_request() {
    let server = answers(|head, body| ok(&format!("{head}{}", String::from_utf8_lossy(body))));
    let proxy = proxy(&[&backend(&server)]);
    for chunks in
        ["5\r\nhelloX", "5\nhello", "-5\r\nhello", "5\r\nhello\r\n0\r\n\n", "fffffffffffffffff\r\n"]
    {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = exchange(proxy.port(), format!("{head}{chunks}{SMUGGLED}"));
        assert!(!answer.contains("/smuggled"), "{chunks:?}: {answer}");
    }
}

#[test]
fn what_is_secret_is_not_logged() {
    let server = ws_server(Ws::echo);
    let away = ClosedPort::new();
    let away = format!("http://127.0.0.1:{}*1000", away.port);
    let run = Towline::new().args(["-vv", "proxy", "127.0.0.1:0", &away, &backend(&server)]);
    let proxy = run.arg("--access-log=json").spawn();
    let secret = "Authorization: Bearer hunter2\r\nCookie: session=hunter2\r\n";
    let mut client = Ws::connect_with(&url(&proxy, "/chat?token=hunter2"), secret);
    client.close(1000, "");
    client.recv();
    proxy.stderr_line(|line| line.contains("/chat"));
    for line in ["GET /bad?token=hunter2 HTTP/1.1\r\n", "GET /bad?token=hunter2#x HTTP/1.1\r\n"] {
        let request = format!("{line}Host: x\r\nHost: y\r\nConnection: close\r\n{secret}\r\n");
        is_answered(&exchange(proxy.port(), request), "400");
    }
    proxy.stderr_line(|line| line.contains("/bad"));
    assert!(!proxy.stderr().contains("hunter2"), "{}", proxy.stderr());
}
