//! TLS on both sides of the proxy.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{answers, backend, ok, proxy, url};
use crate::support::certs::{Authority, Issued};
use crate::support::{Running, Towline, Ws, ws_server};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The flags that show a certificate.
fn shown((cert, key): &(PathBuf, PathBuf)) -> [&str; 4] {
    ["--cert", text(cert), "--key", text(key)]
}

/// Says `hello` through a proxy that speaks TLS, to a backend that echoes.
#[track_caller]
fn hello(proxy: &Running, flags: &[&str]) -> crate::support::Output {
    let address = format!("wss://localhost:{}/", proxy.port());
    Towline::connect([&[&*address, "--count", "1"], flags].concat()).stdin("hello\n").run()
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new("Mine");
    let issue = |name: &str, hosts: &[&str]| {
        let issued = authority.issue(hosts);
        let files = issued.write(dir.path().join(name));
        (issued, files)
    };
    let first = issue("first", &["localhost"]);
    let wild = issue("wild", &["*.A.example"]);
    let exact = issue("exact", &["b.a.example"]);
    let server = ws_server(Ws::echo);
    let backend = backend(&server);
    let flags = [shown(&first.1), shown(&wild.1), shown(&exact.1)].concat();
    let args = [&["proxy", "https://127.0.0.1:0", &backend], &flags[..]].concat();
    let proxy = Towline::new().args(args).spawn();
    let shows = |name: &str, (issued, _): &(Issued, (PathBuf, PathBuf))| {
        hello(&proxy, &["--sni", name, "--pin", &issued.pin]).code(0).stdout("hello\n");
    };
    shows("localhost", &first);
    shows("c.a.example", &wild);
    shows("b.a.example", &exact);
    shows("a.example", &first);
    shows("d.c.a.example", &first);
    // An address is no name to ask for.
    shows("127.0.0.1", &first);

    // One that changes is read again, and the others stay.
    let again = authority.issue(&["b.a.example"]);
    again.write(dir.path().join("exact"));
    crate::support::wait_until("the new certificate", || {
        hello(&proxy, &["--sni", "b.a.example", "--pin", &again.pin]).code == 0
    });
    shows("c.a.example", &wild);
}

#[test]
fn http_is_agreed_on_inside_tls() {
    let server = answers(|head, _| ok(head));
    let flags = ["--tls-self-signed", &backend(&server)];
    let proxy = Towline::new().args(["proxy", "https://127.0.0.1:0"]).args(flags).spawn();
    let ask = |alpn: &str| {
        let address = format!("tls://localhost:{}", proxy.port());
        let flags = [&*address, "-k", "-v", "--alpn", alpn, "--frame", "raw"];
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        Towline::connect(flags).stdin(request).run()
    };
    let answer = ask("h3,http/1.1");
    answer.code(0).stdout_has("X-Forwarded-Proto: https").stderr_has(", http/1.1,");
    ask("h3").code(5);
}

#[test]
fn certificates_and_keys_come_in_pairs() {
    let dir = TempDir::new().unwrap();
    let (cert, key) = Authority::new("Mine").issue(&["localhost"]).write(dir.path());
    let flags = ["--cert", text(&cert), "--cert", text(&cert), "--key", text(&key)];
    for args in [&["proxy", "https://127.0.0.1:0", ":1"], &["serve", "tls://127.0.0.1:0", "echo:"]]
    {
        let output = Towline::new().args(args).args(flags).run();
        output.code(2).stderr_has("2 of --cert do not go with 1 of --key");
    }
}

#[test]
fn clients_are_let_in_by_their_certificates() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new("Mine");
    let ca = authority.write(dir.path().join("ca.pem"));
    let own = authority.issue(&["localhost"]).write(dir.path().join("own"));
    let (cert, key) = authority.issue(&[]).write(dir.path().join("client"));
    let server = ws_server(Ws::echo);
    let backend = backend(&server);
    let args = [&["proxy", "https://127.0.0.1:0", &backend, "-v"], &shown(&own)[..]].concat();
    let proxy = Towline::new().args(args).args(["--client-ca", text(&ca)]).spawn();
    let login = ["--client-cert", text(&cert), "--client-key", text(&key)];
    hello(&proxy, &[&["--ca", text(&ca)], &login[..]].concat()).code(0).stdout("hello\n");
    hello(&proxy, &["--ca", text(&ca)]).code(5);
    proxy.stderr_line(|line| line.contains("peer has shown no certificate"));
}

/// A backend that wants a certificate, and what it takes to be let in.
struct Inner {
    _dir: TempDir,
    server: Running,
    ca: PathBuf,
    client: (PathBuf, PathBuf),
}

impl Inner {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::new("Mine");
        let ca = authority.write(dir.path().join("ca.pem"));
        let own = authority.issue(&["inner.example"]).write(dir.path().join("own"));
        let client = authority.issue(&[]).write(dir.path().join("client"));
        let args = ["wss://127.0.0.1:0", "echo:", "--client-ca", text(&ca)];
        let server = Towline::serve([&args, &shown(&own)[..]].concat());
        Self { _dir: dir, server, ca, client }
    }

    fn address(&self) -> String {
        format!("wss://127.0.0.1:{}", self.server.port())
    }

    fn login(&self) -> [&str; 4] {
        ["--client-cert", text(&self.client.0), "--client-key", text(&self.client.1)]
    }
}

#[test]
fn a_backend_may_ask_for_a_certificate() {
    let inner = Inner::start();
    let trust = ["--ca", text(&inner.ca), "--sni", "inner.example"];
    let address = inner.address();
    let proxy = proxy(&[&[&*address], &trust[..], &inner.login()].concat());
    let mut client = Ws::connect(&url(&proxy, "/"));
    client.text("hello");
    assert_eq!(client.recv().text(), "hello");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_here_and_not_to_the_client() {
    let inner = Inner::start();
    let dir = TempDir::new().unwrap();
    let other = Authority::new("Yours").write(dir.path().join("other.pem"));
    let (ca, address) = (text(&inner.ca), inner.address());
    let cases: [(&[&str], &str); 3] = [
        (&["--ca", text(&other), "--sni", "inner.example"], "not trusted: CN=Mine"),
        (&["--ca", ca], "certificate is for inner.example, not 127.0.0.1"),
        (&["--ca", ca, "--sni", "inner.example"], "peer wants a certificate from us"),
    ];
    for (flags, why) in cases {
        let proxy = proxy(&[&[&*address], flags].concat());
        let output = Towline::connect([&url(&proxy, "/"), "--expect-status", "502"]).run();
        output.code(0);
        let line = proxy.stderr_line(|line| line.contains(why));
        assert!(line.contains(&address), "{line}");
    }
}
