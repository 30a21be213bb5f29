//! Plain requests: how they and their answers are framed, and whose connections are kept.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A backend that answers the first request of each connection with these bytes, and then ends it.
fn once(answer: impl Into<Vec<u8>>) -> Server {
    let answer = answer.into();
    tcp_server(move |mut stream| {
        if read_request(&mut stream).is_some() {
            let _ = stream.write_all(&answer);
        }
    })
}

/// What a client of one backend is told.
#[track_caller]
fn through(server: &Server, request: &str) -> String {
    exchange(proxy(&[&backend(server)]).port(), request)
}

/// A head, byte for byte.
fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    head
}

fn client(proxy: &Running) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.set_read_timeout(Some(support::DEADLINE)).unwrap();
    client.set_write_timeout(Some(support::DEADLINE)).unwrap();
    client
}

/// The next answer, with a body of a known length.
#[track_caller]
fn read_answer(client: &mut impl BufRead) -> String {
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        assert!(client.read_line(&mut answer).unwrap() > 0, "no answer: {answer}");
    }
    let length = answer.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    client.read_exact(&mut body).unwrap();
    answer + &String::from_utf8(body).unwrap()
}

#[test]
fn answers_without_a_body_have_none() {
    for (method, head, there) in [
        ("HEAD", "200 OK\r\nContent-Length: 1000\r\n", "Content-Length: 1000\r\n"),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n", "200 OK\r\n"),
        ("GET", "304 Not Modified\r\nContent-Length: 1000\r\n", "Content-Length: 1000\r\n"),
        ("GET", "204 No Content\r\nX: 1\r\n", "X: 1\r\n"),
        ("GET", "204 No Content\r\nContent-Length: 5\r\nX: 1\r\n", "X: 1\r\n"),
        ("GET", "200 OK\r\nContent-Length: 0\r\n", "Content-Length: 0\r\n"),
    ] {
        // One that took the length for that of a body would wait for it.
        let server = answers(move |_, _| format!("HTTP/1.1 {head}\r\n"));
        let answer = through(&server, &GET.replace("GET", method));
        assert!(answer.contains(there), "{head}: {answer}");
        assert!(answer.ends_with("\r\nConnection: close\r\n\r\n"), "{head}: {answer}");
        assert!(!answer.contains("204") || !answer.contains("Content-Length"), "{answer}");
    }
}

#[test]
fn answers_that_come_before_the_answer_are_passed_on() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: 1\r\n\r\n";
    let server = once(format!("HTTP/1.1 100 Continue\r\n\r\n{early}{}", ok("done")));
    let answer = through(&server, GET);
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(answer.starts_with(hints), "{answer}");
    let answer = through(&server, "GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "HTTP/1.0 knows one answer: {answer}");
}

#[test]
fn the_end_of_a_connection_ends_an_answer_and_a_cut_shows() {
    for (answer, whole) in [
        ("HTTP/1.1 200 OK\r\n\r\nto the end", true),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nto the end", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nto the end", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nto the end\r\n", false),
    ] {
        let server = once(answer);
        let proxy = proxy(&[&backend(&server)]);
        let mut client = client(&proxy);
        client.write_all(GET.as_bytes()).unwrap();
        let mut said = Vec::new();
        let end = client.read_to_end(&mut said);
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("to the end") || !whole, "{answer}: {said}");
        let ended = end.is_ok() && (said.ends_with("to the end") || said.ends_with("0\r\n\r\n"));
        assert_eq!(ended, whole, "{answer}: {said}");
    }
}

#[test]
fn clients_of_http_1_0_are_served() {
    let server = answers(|head, _| {
        assert!(head.starts_with("GET /health HTTP/1.1\r\n"), "{head}");
        assert_eq!(head.matches("\r\nHost: ").count(), 1, "{head}");
        let host = head.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap();
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{host}\r\n0\r\n\r\n",
            host.len()
        )
    });
    let own = format!("127.0.0.1:{}", server.port());
    for (fields, host) in [("", &*own), ("Host: a\r\n", "a"), ("Connection: keep-alive\r\n", &own)]
    {
        let answer = through(&server, &format!("GET /health HTTP/1.0\r\n{fields}\r\n"));
        assert!(!answer.contains("chunked"), "{answer}");
        assert!(answer.ends_with(&format!("Connection: close\r\n\r\n{host}")), "{answer}");
    }
    let upgrade = "GET /health HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert!(through(&server, upgrade).starts_with("HTTP/1.1 200 OK\r\n"));
    let chunked = "GET /health HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(through(&server, chunked).starts_with("HTTP/1.1 400 "));
}

#[test]
fn what_is_no_utf8_goes_through_as_it_came() {
    let server = tcp_server(|mut stream| {
        let head = read_head(&mut stream);
        assert!(head.windows(9).any(|it| it == b"X: \xe4 \xa0\xff\r\n"), "not as it was sent");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nY: gr\xfc\xdfe\x85\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
    });
    let proxy = proxy(&[&backend(&server)]);
    let mut client = client(&proxy);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX: \xe4 \xa0\xff \r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.windows(11).any(|it| it == b"Y: gr\xfc\xdfe\x85\r\n"), "{answer:?}");
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let server = answers(|head, body| {
        assert!(!head.contains("Expect"), "{head}");
        ok(std::str::from_utf8(body).unwrap())
    });
    let proxy = proxy(&[&backend(&server)]);
    let mut client = client(&proxy);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    assert_eq!(read_answer(&mut reader), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").unwrap();
    assert!(read_answer(&mut reader).ends_with("\r\n\r\nhello"));
}

#[test]
fn a_backend_may_answer_before_it_has_heard_all() {
    let server = tcp_server(|mut stream| {
        read_head(&mut stream);
        let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much";
        stream.write_all(answer.as_bytes()).unwrap();
        // It reads nothing more, and ends with a reset, since there is more to be read.
    });
    let proxy = proxy(&[&backend(&server)]);
    let mut client = client(&proxy);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let mut sending = client.try_clone().unwrap();
    let sender = thread::spawn(move || while sending.write_all(&[0; 65_536]).is_ok() {});
    let mut answer = String::new();
    let _ = client.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with("too much"), "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    drop(client);
    sender.join().unwrap();
}

#[test]
fn requests_that_come_at_once_are_answered_in_their_order() {
    let server = answers(|head, body| {
        let path = head.split(' ').nth(1).unwrap();
        ok(&format!("{path} {}", body.len()))
    });
    let proxy = proxy(&[&backend(&server)]);
    let mut client = client(&proxy);
    let mut all = Vec::new();
    for n in 0..20 {
        let (method, rest) = match n % 3 {
            0 => ("GET", "\r\n"),
            1 => ("POST", "Content-Length: 5\r\n\r\nhello"),
            _ => ("GET", "Content-Length: 0\r\n\r\n"),
        };
        all.extend(format!("{method} /{n} HTTP/1.1\r\nHost: x\r\n{rest}").bytes());
    }
    client.write_all(&all).unwrap();
    let mut reader = BufReader::new(client);
    for n in 0..20 {
        let len = if n % 3 == 1 { 5 } else { 0 };
        let answer = read_answer(&mut reader);
        assert!(answer.ends_with(&format!("\r\n\r\n/{n} {len}")), "{n}: {answer}");
    }
}

#[test]
fn a_connection_that_the_backend_has_closed_costs_no_request_that_may_be_repeated() {
    let connections = AtomicUsize::new(0);
    let server = tcp_server(move |mut stream| {
        let number = connections.fetch_add(1, Ordering::SeqCst);
        // The second request of a connection finds it closing.
        if let Some((head, _)) = read_request(&mut stream) {
            let method = head.split(' ').next().unwrap();
            stream.write_all(ok(&format!("{method} {number}")).as_bytes()).unwrap();
            let _ = stream.read(&mut [0]);
        }
    });
    let proxy = proxy(&[&backend(&server)]);
    let mut client = client(&proxy);
    let mut reader = BufReader::new(client.try_clone().unwrap());
    for (method, want) in
        [("GET", "GET 0"), ("GET", "GET 1"), ("DELETE", "DELETE 2"), ("POST", "POST 3")]
    {
        let request = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let answer = read_answer(&mut reader);
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(want),
            "{method}: {answer}"
        );
    }
}

#[test]
fn a_request_that_must_not_be_repeated_is_sent_once() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counts = requests.clone();
    let server = tcp_server(move |mut stream| {
        if read_request(&mut stream).is_some() {
            counts.fetch_add(1, Ordering::SeqCst);
        }
    });
    let proxy = proxy(&[&backend(&server), &backend(&server)]);
    let post = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    assert!(exchange(proxy.port(), post).starts_with("HTTP/1.1 502 "));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    assert!(exchange(proxy.port(), GET).starts_with("HTTP/1.1 502 "));
    assert_eq!(requests.load(Ordering::SeqCst), 3, "both backends are asked");
}

#[test]
fn a_request_that_may_be_repeated_is_answered_by_another_backend() {
    let good = answers(|head, _| {
        let body = if head.starts_with("HEAD") { "" } else { "good" };
        format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}")
    });
    let away = ClosedPort::new();
    let away = format!("http://127.0.0.1:{}*1000", away.port);
    let hangs_up = once("");
    let stops = once("HTTP/1.1 200 OK\r\nContent-Le");
    let all = [away, format!("{}*1000", backend(&hangs_up)), format!("{}*1000", backend(&stops))];
    for bad in &all {
        let proxy = proxy(&[bad, &backend(&good), "--max-fails=0", "--balance=round-robin"]);
        for _ in 0..3 {
            assert!(exchange(proxy.port(), GET).ends_with("\r\n\r\ngood"), "{bad}");
            let head = exchange(proxy.port(), GET.replace("GET", "HEAD"));
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{bad}: {head}");
        }
    }
}

#[test]
fn what_a_backend_answers_is_the_answer() {
    let bad = answers(|_, _| "HTTP/1.1 503 Not Now\r\nContent-Length: 0\r\n\r\n".to_owned());
    let good = answers(|_, _| ok("good"));
    let bad = format!("{}*1000", backend(&bad));
    let proxy = proxy(&[&bad, &backend(&good), "--max-fails=0"]);
    assert!(exchange(proxy.port(), GET).starts_with("HTTP/1.1 503 Not Now\r\n"));
}

#[test]
fn large_bodies_go_both_ways_at_once_whoever_is_slow() {
    const LEN: usize = 16 << 20;
    for slow in ["nobody", "backend", "client"] {
        let go = Arc::new(AtomicBool::new(slow != "backend"));
        let goes = go.clone();
        let server = tcp_server(move |mut stream| {
            little(&stream);
            support::wait_until("the backend may read", || goes.load(Ordering::SeqCst));
            read_head(&mut stream);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut chunk = vec![0; 64 << 10];
            let mut left = LEN;
            while left > 0 {
                let len = stream.read(&mut chunk).unwrap();
                assert!(len > 0, "{left} bytes are missing");
                stream.write_all(&chunk[..len]).unwrap();
                left -= len;
            }
        });
        let proxy = proxy(&[&backend(&server)]);
        let before = proxy.memory("VmHWM");
        let mut client = client(&proxy);
        little(&client);
        let mut sending = client.try_clone().unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let counts = sent.clone();
        let sender = thread::spawn(move || {
            let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {LEN}\r\n\r\n");
            sending.write_all(head.as_bytes()).unwrap();
            for piece in support::noise(LEN).chunks(64 << 10) {
                sending.write_all(piece).unwrap();
                counts.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        if slow != "nobody" {
            let mut last = 0;
            support::wait_until("nothing moves any more, all the way back", || {
                thread::sleep(Duration::from_millis(100));
                let now = sent.load(Ordering::SeqCst);
                std::mem::replace(&mut last, now) == now && now > 0
            });
            let grown = proxy.memory("VmHWM") - before;
            assert!(grown < 4 << 10, "{grown} KiB are held for a slow {slow}");
            go.store(true, Ordering::SeqCst);
        }
        let mut reader = BufReader::new(&mut client);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        let mut body = vec![0; LEN];
        reader.read_exact(&mut body).unwrap();
        assert!(body == support::noise(LEN), "the {slow} is slow, and the body has changed");
        sender.join().unwrap();
    }
}

/// Has the system hold little for a socket, or all would be on its way before anybody is slow.
fn little(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_recv_buffer_size(stream, 64 << 10).unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(stream, 64 << 10).unwrap();
}
