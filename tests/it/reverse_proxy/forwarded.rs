//! Who asked: what is believed of a client, what a backend is told, and what the log says.

use tempfile::TempDir;

use super::*;

/// What a backend hears when these fields are sent to a proxy with these flags.
#[track_caller]
fn told(flags: &[&str], fields: &str) -> String {
    let server = answers(|head, _| ok(head));
    let proxy = proxy(&[&[&*backend(&server)], flags].concat());
    exchange(
        proxy.port(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"),
    )
}

#[track_caller]
fn has(head: &str, fields: &[&str]) {
    for field in fields {
        assert!(head.contains(&format!("{field}\r\n")), "{field} is missing: {head}");
    }
    for name in
        ["X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded"]
    {
        let count = head.matches(&format!("\r\n{name}: ")).count();
        assert_eq!(count, 1, "{name} is there {count} times: {head}");
    }
}

const LIES: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                    X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Port: 666\r\n";

#[test]
fn strangers_are_not_believed() {
    for flags in [&[][..], &["--trust=10.0.0.0/8,::1"]] {
        let head = told(flags, LIES);
        has(
            &head,
            &[
                "X-Forwarded-For: 127.0.0.1",
                "X-Real-IP: 127.0.0.1",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: a",
                "Forwarded: for=127.0.0.1;host=\"a\";proto=http",
            ],
        );
        assert!(!head.contains("6.6.6.6") && !head.contains("evil") && !head.contains("666"));
    }
}

#[test]
fn those_who_are_trusted_say_who_asked() {
    let fields = "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.9\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: b:8443\r\nForwarded: for=6.6.6.6\r\n";
    let head = told(&["--trust=127.0.0.0/8", "--trust=10.0.0.0/8"], fields);
    has(
        &head,
        &[
            "X-Forwarded-For: 192.0.2.1, 10.0.0.9, 127.0.0.1",
            "X-Real-IP: 192.0.2.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: b:8443",
            "Forwarded: for=192.0.2.1;host=\"b:8443\";proto=https, for=10.0.0.9, for=127.0.0.1",
        ],
    );
    assert!(!head.contains("6.6.6.6"), "{head}");
}

#[test]
fn the_log_names_the_client_of_each_request() {
    let server = ws_server(Ws::echo);
    let run = Towline::new().args(["proxy", "127.0.0.1:0", &backend(&server)]);
    let proxy = run.args(["--trust=127.0.0.1", "--access-log"]).spawn();
    proxy.ready();
    let _client = Ws::connect_with(&url(&proxy, "/a"), "X-Forwarded-For: 192.0.2.7\r\n");
    let line = proxy.stderr_line(|line| line.contains("/a"));
    assert!(line.contains("192.0.2.7"), "{line}");
    let _client = Ws::connect(&url(&proxy, "/b"));
    let line = proxy.stderr_line(|line| line.contains("/b"));
    assert!(line.contains("127.0.0.1:"), "{line}");
}

#[test]
fn a_unix_socket_tells_nothing_unless_it_is_trusted() {
    let dir = TempDir::new().unwrap();
    let server = answers(|head, _| ok(head));
    for (name, flags, there) in
        [("a", &[][..], "for=unknown;"), ("b", &["--trust=unix"][..], "for=6.6.6.6;")]
    {
        let path = dir.path().join(name);
        let listen = format!("unix:{}", path.display());
        let run = Towline::new().args(["proxy", &listen, &backend(&server)]).args(flags).spawn();
        run.ready();
        let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{LIES}\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        client.read_to_string(&mut head).unwrap();
        assert!(head.contains(&format!("\r\nForwarded: {there}")), "{head}");
        assert_eq!(head.contains("X-Real-IP: 6.6.6.6"), name == "b", "{head}");
    }
}

#[test]
fn networks_are_checked_when_the_proxy_starts() {
    for text in ["localhost", "10.0.0.0/33", "10.0.0.1/8", ""] {
        let run = Towline::new().args(["proxy", ":0", ":1", &format!("--trust={text}")]).run();
        run.code(2).stderr_has("--trust");
    }
}

/// A header of version 2.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, rest].concat()
}

#[test]
fn a_proxy_header_says_who_asks() {
    let server = answers(|head, _| ok(head));
    let backend = backend(&server);
    let four = [192, 0, 2, 7, 127, 0, 0, 1, 0, 80, 1, 187];
    let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 20]].concat();
    let proxy = proxy(&[&backend, "--proxy-protocol", "--trust=127.0.0.1"]);
    for (header, who) in [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 80 443\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 80 443\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x21, 0x11, &four), "192.0.2.7"),
        (binary(0x21, 0x11, &[&four[..], &[4, 0, 1, 0]].concat()), "192.0.2.7"),
        (binary(0x21, 0x21, &six), "2001:db8::7"),
        (binary(0x20, 0, &[]), "127.0.0.1"),
    ] {
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let head = exchange(proxy.port(), [&header, request.as_bytes()].concat());
        assert!(head.contains(&format!("X-Real-IP: {who}\r\n")), "{who}: {head}");
    }
}

#[test]
fn a_connection_without_its_header_is_refused() {
    let server = answers(|head, _| panic!("a backend hears {head}"));
    let backend = backend(&server);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let header = "PROXY TCP4 192.0.2.7 127.0.0.1 80 443\r\n";
    for (flags, request, why) in [
        (&[][..], request.to_owned(), "no PROXY header"),
        (&[], format!("PROXY TCP4 1.2.3.4\r\n{request}"), "a malformed PROXY header"),
        (&["--trust=10.0.0.0/8"], format!("{header}{request}"), "(--trust)"),
    ] {
        let proxy = proxy(&[&[&*backend, "-v", "--proxy-protocol"], flags].concat());
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut said = Vec::new();
        let _ = client.read_to_end(&mut said);
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
        proxy.stderr_line(|line| line.contains(why));
    }
    // Where none is expected, it is no request.
    let proxy = proxy(&[&backend]);
    assert!(exchange(proxy.port(), format!("{header}{request}")).starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_proxy_header_goes_before_tls_and_to_one_client_alone() {
    let server = answers(|head, _| ok(head));
    let chat = ws_server(|ws| {
        assert!(ws.head.contains("X-Real-IP: 192.0.2.8\r\n"), "{}", ws.head);
        ws.echo();
    });
    for version in ["v1", "v2"] {
        for (target, path) in [(&server, "/"), (&chat, "/chat")] {
            let run = Towline::new().args(["proxy", "https://127.0.0.1:0", &backend(target)]);
            let behind = run.args(["--tls-self-signed", "--proxy-protocol"]).spawn();
            let behind_at = format!("https://127.0.0.1:{}", behind.port());
            let flags = ["--insecure", "--trust=127.0.0.1", &format!("--send-proxy={version}")];
            let front = proxy(&[&[&*behind_at][..], &flags].concat());
            if path == "/chat" {
                let mut ws = Ws::connect_with(&url(&front, path), "X-Forwarded-For: 192.0.2.8\r\n");
                ws.text("hello");
                assert_eq!(ws.recv().text(), "hello");
                continue;
            }
            for who in ["192.0.2.8", "2001:db8::8", "192.0.2.9"] {
                let fields = format!("X-Forwarded-For: {who}\r\nConnection: close\r\n");
                let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
                let head = exchange(front.port(), request);
                assert!(head.contains(&format!("X-Forwarded-For: {who}\r\n")), "{version}: {head}");
            }
        }
    }
}
