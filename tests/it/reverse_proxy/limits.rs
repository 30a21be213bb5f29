//! How much of what clients may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A handshake with these fields, and the status of its answer.
#[track_caller]
fn handshake(proxy: &Running, fields: &str) -> (Ws, u16) {
    let ws = Ws::try_connect(&url(proxy, "/chat?token=secret"), fields);
    let status = ws.head.get(9..12).expect("an answer").parse().unwrap();
    (ws, status)
}

#[track_caller]
fn says_when(ws: &Ws) {
    let wait = ws.header("Retry-After").expect("a Retry-After").parse::<u32>().unwrap();
    assert!((1..60).contains(&wait), "{wait}");
}

#[test]
fn a_websocket_that_is_open_is_no_handshake() {
    let server = ws_server(Ws::echo);
    for target in ["echo:", &backend(&server)] {
        let proxy = proxy(&[target, "--max-handshakes=1"]);
        let mut clients = [Ws::connect(&url(&proxy, "/")), Ws::connect(&url(&proxy, "/"))];
        for client in &mut clients {
            client.text("in");
            assert_eq!(client.recv().text(), "in");
        }
    }
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let server = ws_server(Ws::echo);
    for target in ["echo:", &backend(&server)] {
        let proxy = proxy(&[target, "--max-per-ip=2", "--trust=127.0.0.2"]);
        let held: Vec<_> = (0..2).map(|_| handshake(&proxy, "")).collect();
        assert!(held.iter().all(|(_, status)| *status == 101));
        let (third, status) = handshake(&proxy, "");
        assert_eq!(status, 429, "{}", third.head);
        says_when(&third);
        drop((held, third));
        // Their places are free again as soon as the proxy has noticed.
        support::wait_until("there is a place", || handshake(&proxy, "").1 == 101);
    }
}

#[test]
fn a_flood_of_one_client_is_not_answered_at_all() {
    let server = ws_server(Ws::echo);
    let proxy = proxy(&[&backend(&server), "-v", "--max-per-ip=1"]);
    let connect = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let all: Vec<_> = (0..20).map(|_| connect()).collect();
    proxy.stderr_line(|line| line.ends_with("far too many connections"));
    all.iter().for_each(|it| it.set_nonblocking(true).unwrap());
    support::wait_until("one is closed without an answer", || {
        all.iter().any(|it| matches!(it.peek(&mut [0]), Ok(0)))
    });
}

#[test]
fn clients_of_a_trusted_proxy_are_told_apart() {
    let server = ws_server(Ws::echo);
    let proxy = proxy(&[&backend(&server), "--max-per-ip=1", "--trust=127.0.0.1"]);
    let clients = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
    let clients = clients.map(|it| handshake(&proxy, &format!("X-Forwarded-For: {it}\r\n")));
    assert!(clients.iter().all(|(_, status)| *status == 101));
    assert_eq!(handshake(&proxy, "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n").1, 429);
    assert_eq!(handshake(&proxy, "X-Forwarded-For: 2001:db8::2\r\n").1, 429, "the same /64");
    assert_eq!(handshake(&proxy, "").1, 101, "the proxy itself");
}

#[test]
fn handshakes_come_at_a_rate() {
    let server = ws_server(Ws::echo);
    for (flags, want) in [
        (&["--max-rate-per-ip=1"][..], 429),
        (&["--max-rate=1"], 503),
        (&["--max-rate=1", "--max-rate-per-ip=50"], 503),
    ] {
        let proxy = proxy(&[&[&*backend(&server)], flags].concat());
        let answers: Vec<_> = (0..20).map(|_| handshake(&proxy, "")).collect();
        assert_eq!(answers[0].1, 101, "{flags:?}");
        let (refused, _) = answers.iter().find(|(_, status)| *status == want).unwrap();
        says_when(refused);
        assert!(answers.iter().all(|(_, status)| [101, want].contains(status)), "{flags:?}");
    }
    let server = answers(|_, _| ok("plain"));
    let proxy = proxy(&[&backend(&server), "--max-rate=1", "--max-rate-per-ip=1"]);
    for _ in 0..10 {
        assert!(exchange(proxy.port(), GET).ends_with("plain"), "requests are no handshakes");
    }
}

#[test]
fn pages_of_other_origins_reach_no_backend() {
    let dialled = Arc::new(AtomicUsize::new(0));
    let counts = dialled.clone();
    let server = tcp_server(move |stream| {
        counts.fetch_add(1, Ordering::SeqCst);
        Ws::accept(stream).echo();
    });
    let allowed = "--allow-origin=https://example.com,https://*.example.org:8443";
    let proxy = proxy(&[&backend(&server), "-v", allowed]);
    for (fields, want) in [
        ("", 101),
        ("Origin: https://example.com\r\n", 101),
        ("Origin: https://EXAMPLE.com:443\r\n", 101),
        ("Origin: https://a.example.org:8443\r\n", 101),
        ("Origin: http://example.com\r\n", 403),
        ("Origin: https://example.com:8443\r\n", 403),
        ("Origin: https://example.com.evil.org\r\n", 403),
        ("Origin: https://a.example.org\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: https://example.com\r\nOrigin: https://evil.org\r\n", 403),
    ] {
        let before = dialled.load(Ordering::SeqCst);
        assert_eq!(handshake(&proxy, fields).1, want, "{fields}");
        if want == 403 {
            assert_eq!(dialled.load(Ordering::SeqCst), before, "{fields} reaches the backend");
        }
    }
    let line = proxy.stderr_line(|line| line.contains(" 403 "));
    assert!(line.contains("GET /chat: 403 pages of this Origin"), "{line}");
    assert!(!proxy.stderr().contains("secret"), "{}", proxy.stderr());
    let wrong = Towline::new().args(["proxy", ":0", ":1", "--allow-origin=example.com"]).run();
    wrong.code(2).stderr_has("is not an Origin");
}

#[test]
fn plain_http_is_sent_to_tls() {
    let run = Towline::new().args(["proxy", "https://127.0.0.1:0", "echo:", "--tls-self-signed"]);
    let proxy = run.arg("--redirect-http=127.0.0.1:0").spawn();
    let listeners = proxy.listeners(2);
    let ports: Vec<u16> =
        listeners.iter().map(|it| it.rsplit_once(':').unwrap().1.parse().unwrap()).collect();
    for (target, host, want) in [
        ("/a?b=c", "example.com", format!("https://example.com:{}/a?b=c", ports[0])),
        ("/", "example.com:80", format!("https://example.com:{}/", ports[0])),
        ("//evil.org/", "[::1]:80", format!("https://[::1]:{}//evil.org/", ports[0])),
        ("/", "[::1]", format!("https://[::1]:{}/", ports[0])),
    ] {
        let fields = format!("Host: {host}\r\nConnection: close\r\n");
        let answer = exchange(ports[1], format!("GET {target} HTTP/1.1\r\n{fields}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        assert!(answer.contains(&format!("Location: {want}\r\n")), "{answer}");
    }
    assert!(exchange(ports[1], "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let two = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n";
    assert!(exchange(ports[1], two).starts_with("HTTP/1.1 400 "));
    for (listen, from) in [("127.0.0.1:0", ":0"), ("https://127.0.0.1:0", "https://:0")] {
        let run = Towline::new().args(["proxy", listen, "echo:", "--redirect-http", from]).run();
        run.code(2).stderr_has("is from http: to https:");
    }
}

#[test]
fn frames_of_clients_are_policed_where_that_is_asked_for() {
    let server = ws_server(Ws::echo);
    let proxy = proxy(&[&backend(&server), "--police", "--max-client-message", "1000"]);
    let mut client = Ws::connect(&url(&proxy, "/"));
    client.text("fine");
    assert_eq!(client.recv().text(), "fine");
    client.binary(vec![0; 1001]);
    assert_eq!(client.recv().code(), 1009);

    let mut client = Ws::connect(&url(&proxy, "/"));
    // A text frame without a mask.
    client.stream.write_all(b"\x81\x02hi").unwrap();
    assert_eq!(client.recv().code(), 1002);
}

/// Sends a head, and then a byte now and then, until it is told to stop; returns what it is told.
fn trickle(proxy: &Running, head: &str, body: &[u8]) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.set_read_timeout(Some(support::DEADLINE)).unwrap();
    client.write_all(head.as_bytes()).unwrap();
    let mut sending = client.try_clone().unwrap();
    let bytes = body.to_vec();
    let sender = std::thread::spawn(move || {
        for byte in bytes.chunks(1).cycle() {
            std::thread::sleep(std::time::Duration::from_millis(5));
            if sending.write_all(byte).is_err() {
                return;
            }
        }
    });
    let mut said = Vec::new();
    let _ = client.read_to_end(&mut said);
    let _ = client.shutdown(Shutdown::Both);
    sender.join().unwrap();
    String::from_utf8(said).unwrap()
}

#[test]
fn who_sends_a_body_too_slowly_is_not_waited_for() {
    let server = tcp_server(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let flags = ["--min-body-rate=1MiB", "--http-timeout=1s", "--access-log=json"];
    let proxy = proxy(&[&[&*backend(&server)], &flags[..]].concat());
    for (fields, body) in
        [("Content-Length: 1000000", &b"x"[..]), ("Transfer-Encoding: chunked", b"1\r\nx\r\n")]
    {
        let head = format!("POST /slow HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        let said = trickle(&proxy, &head, body);
        assert!(said.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{said}");
        assert!(said.contains("Connection: close\r\n"), "{said}");
    }
    let line = proxy.stderr_line(|line| line.contains("(--min-body-rate)"));
    assert!(line.contains(r#""by":"client""#), "{line}");
}

#[test]
fn who_does_not_read_an_answer_is_cut_off() {
    let server = tcp_server(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        while stream.write_all(&[0; 65536]).is_ok() {}
    });
    let flags = ["--http-timeout=1s", "--access-log=json"];
    let proxy = proxy(&[&[&*backend(&server)], &flags[..]].concat());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.write_all(GET.as_bytes()).unwrap();
    let line = proxy.stderr_line(|line| line.contains(r#""event":"request""#));
    assert!(line.contains("nothing moved for 1s") && line.contains(r#""by":"client""#), "{line}");
    assert!(std::io::copy(&mut client, &mut std::io::sink()).is_err(), "what is cut off shows");
}
