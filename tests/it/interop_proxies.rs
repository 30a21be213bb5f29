//! curl through our proxies.

use std::io::Write;
use std::process::Command;

use crate::support::{Server, Towline, tcp_server};

/// A web server of one page.
fn web_server() -> Server {
    tcp_server(|mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            head.push(byte[0]);
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

/// What curl says on stdout, and its exit code.
fn curl(args: &[&str]) -> (String, i32) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--noproxy", "", "--max-time", "20"]).args(args);
    let output = command.env_clear().output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn curl_gets_through() {
    let web = web_server();
    let page = format!("http://localhost:{}/", web.port());
    for login in ["", "me:p%40ss@"] {
        let socks5 = Towline::serve([format!("socks5://{login}127.0.0.1:0")]);
        let http = Towline::serve([format!("http://{login}127.0.0.1:0")]);
        for (scheme, port) in
            [("socks5", socks5.port()), ("socks5h", socks5.port()), ("http", http.port())]
        {
            let proxy = format!("{scheme}://{login}127.0.0.1:{port}");
            let got = curl(&["--proxytunnel", "--proxy", &proxy, &page]);
            assert_eq!(got, ("hello\n".to_owned(), 0), "{proxy}");
        }
    }
}

#[test]
fn curl_speaks_what_it_likes_on_one_port() {
    let web = web_server();
    let page = format!("http://localhost:{}/", web.port());
    for (login, schemes) in [
        ("", &["socks4", "socks4a", "socks5", "socks5h", "http"][..]),
        ("me:p%40ss@", &["socks5", "socks5h", "http"]),
    ] {
        let proxy = Towline::serve([format!("socks://{login}127.0.0.1:0")]);
        for scheme in schemes {
            let proxy = format!("{scheme}://{login}127.0.0.1:{}", proxy.port());
            let got = curl(&["--proxytunnel", "--proxy", &proxy, &page]);
            assert_eq!(got, ("hello\n".to_owned(), 0), "{proxy}");
        }
    }
}

#[test]
fn curl_is_told_why_it_does_not_get_through() {
    let socks5 = Towline::serve(["socks5://me:secret@127.0.0.1:0"]);
    let http = Towline::serve(["http://127.0.0.1:0"]);
    let port = http.port();

    // 97 is a failed proxy handshake.
    let wrong = format!("socks5://me:guess@127.0.0.1:{}", socks5.port());
    assert_eq!(curl(&["--proxy", &wrong, "http://localhost/"]).1, 97);
    let old = format!("socks4://127.0.0.1:{}", socks5.port());
    assert_eq!(curl(&["--proxy", &old, "http://127.0.0.1/"]).1, 97);

    let proxy = format!("http://127.0.0.1:{port}");
    let got = curl(&["--proxy", &proxy, "http://localhost/x"]);
    assert_eq!(got, ("GET http://localhost/x: this proxy knows CONNECT only\n".to_owned(), 0));
    let code = ["--write-out", "%{http_connect}"];
    let unknown = ["--proxytunnel", "--proxy", &proxy, "http://nowhere.invalid/"];
    assert_eq!(curl(&[&code[..], &unknown[..]].concat()).0, "502");
}
