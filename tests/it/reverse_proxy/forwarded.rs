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
