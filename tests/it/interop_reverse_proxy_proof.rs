use std::io::{BufRead, BufReader, Write};
use std::sync::{Arc, Mutex};

use crate::interop_reverse_proxy_plain::{haproxy, nginx};
use crate::support::{Server, Towline, exchange, port, tcp_server};

/// Fields and bodies of requests whose bounds can be read in several ways. What is behind them is
/// then the next request for some, and a part of this one for others.
const PAYLOADS: &[&str] = &[
    // Which of two lengths it is.
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "Content-Length: 5\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "Content-Length: 5, 0\r\n\r\n0\r\n\r\n",
    "Content-Length: +5\r\n\r\n0\r\n\r\n",
    "Content-Length: 0x5\r\n\r\n0\r\n\r\n",
    "Content-Length : 5\r\n\r\n0\r\n\r\n",
    "X: y\r\n Content-Length: 5\r\n\r\n0\r\n\r\n",
    "X: y\rContent-Length: 5\r\n\r\n0\r\n\r\n",
    "X: y\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "X: y\0Content-Length: 5\r\n\r\n0\r\n\r\n",
    // Whether it comes in chunks.
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    // How long a chunk is.
    "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n 1\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1_0\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff1\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n\r\na\r\n0\r\n\r\n",
    // Where a chunk, or a line of it, ends.
    "Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n",
    "Transfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1\r\na0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1;x\ny\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1;x\ry\r\na\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\n\n\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n X: y\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0\r\nX: \0\r\n\r\n",
    // What a WebSocket's client would say before the answer.
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 99\r\n\r\n",
    // And some that are passed on without what is odd about them, or as they are.
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "Content-Length: 5\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 50\r\n\r\n",
    "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
];

/// How many of them, at the end, are as they should be.
const GOOD: usize = 6;

/// Reads requests as they are meant, and keeps what they ask for; what cannot be read is `?`.
fn recorder(asked: &Arc<Mutex<Vec<String>>>) -> Server {
    let asked = asked.clone();
    tcp_server(move |stream| {
        let mut reader = BufReader::new(&stream);
        while let Some(target) = request(&mut reader) {
            let ends = target == "?";
            asked.lock().unwrap().push(target);
            let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if ends || (&stream).write_all(ok.as_bytes()).is_err() {
                break;
            }
        }
    })
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok().filter(|len| *len > 0)?;
    Some(String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned())
}

/// What is asked for, after its body.
fn request(reader: &mut impl BufRead) -> Option<String> {
    let first = line(reader)?;
    let target = match first.split(' ').collect::<Vec<_>>()[..] {
        [_, target, "HTTP/1.1" | "HTTP/1.0"] => target.to_owned(),
        _ => return Some("?".to_owned()),
    };
    let (mut length, mut chunked) = (0, false);
    loop {
        let field = line(reader)?.to_ascii_lowercase();
        match field.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("transfer-encoding", _)) => chunked = true,
            None if field.is_empty() => break,
            _ => {}
        }
    }
    let mut skip = |len: usize| reader.read_exact(&mut vec![0; len]).ok();
    if !chunked {
        skip(length)?;
        return Some(target);
    }
    loop {
        let size = line(reader)?;
        let size = size.split(';').next().and_then(|size| usize::from_str_radix(size, 16).ok());
        match size {
            None => return Some("?".to_owned()),
            Some(0) => break,
            Some(size) => reader.read_exact(&mut vec![0; size + 2]).ok()?,
        }
    }
    while !line(reader)?.is_empty() {}
    Some(target)
}

/// Sends these bytes, and returns whether the first request was let through, and all that the
/// backend was asked for.
fn send(port: u16, bytes: &str, asked: &Mutex<Vec<String>>) -> (bool, Vec<String>) {
    asked.lock().unwrap().clear();
    let said = exchange(port, bytes);
    (said.starts_with("HTTP/1.1 200 "), asked.lock().unwrap().clone())
}

#[test]
fn no_backend_hears_two_requests_where_one_was_sent() {
    let asked = Arc::default();
    let backend = recorder(&asked);
    let to = backend.address().to_string();
    let location = format!("location / {{ proxy_pass http://{to}; proxy_http_version 1.1; }}");
    let nginx = nginx("", &location);
    let haproxy = haproxy("", &format!("default_backend out\nbackend out\n server s {to}"));
    let ours = Towline::new().args(["proxy", "127.0.0.1:0", &format!("http://{to}")]).spawn();
    let mut refused = 0;
    for (i, payload) in PAYLOADS.iter().enumerate() {
        let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let request = format!("POST /sent HTTP/1.1\r\nHost: x\r\n{payload}{hidden}");
        let (passed, heard) = send(ours.port(), &request, &asked);
        // All agree that what is behind a good one is a request of its own.
        let is_good = i >= PAYLOADS.len() - GOOD;
        let want = if is_good { &["/sent", "/hidden"][..] } else { &[] };
        assert_eq!(
            (passed, heard),
            (is_good, want.iter().map(|it| (*it).to_owned()).collect()),
            "{payload:?}"
        );
        let theirs = [&nginx, &haproxy].map(|it| send(port(&it.url), &request, &asked).0);
        assert!(!passed || theirs == [true; 2], "{payload:?}: we pass it on, others {theirs:?}");
        refused += usize::from(theirs != [true; 2]);
    }
    assert!(refused > 20, "{refused}: they are not asked");
}
