//! The HTTP side of a WebSocket listener, byte by byte.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use rustix::process::Signal;

use crate::support::{DEADLINE, Frame, Running, Towline, Ws, wait_until};

const ANY: &str = "ws://127.0.0.1:0";

/// A connection that stays open for several requests.
pub(crate) struct Client(BufReader<TcpStream>);

pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// `request` is the head without its end.
    pub(crate) fn ask(&mut self, request: &str) -> Reply {
        self.say(&format!("{request}\r\n\r\n"));
        self.reply(request.starts_with("HEAD "))
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn reply(&mut self, is_head: bool) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "the head ends early: {head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        if !is_head && !matches!(status, 101 | 304) {
            reply.body = vec![0; reply.header("Content-Length").unwrap().parse().unwrap()];
            self.0.read_exact(&mut reply.body).unwrap();
        }
        reply
    }

    /// Panics if anything more comes before the end.
    fn ends(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}{}", self.head, String::from_utf8_lossy(&self.body));
        self
    }
}

/// One request on a connection of its own.
fn get(server: &Running, path: &str) -> Reply {
    get_with(server, path, "")
}

/// `headers` are more lines, each ended by `\r\n`.
fn get_with(server: &Running, path: &str, headers: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close");
    Client::new(server.port()).ask(&request)
}

/// What `echo:NAME` answers to a WebSocket of a path, or the status of the refusal.
fn says(server: &Running, path: &str) -> Result<String, String> {
    let mut ws = Ws::try_connect(&format!("ws://127.0.0.1:{}{path}", server.port()), "");
    if !ws.head.starts_with("HTTP/1.1 101 ") {
        return Err(ws.head.split(' ').nth(1).unwrap().to_owned());
    }
    ws.text("");
    Ok(ws.recv().text().to_owned())
}

#[test]
fn a_plain_get_is_told_what_this_is() {
    let server = Towline::serve([ANY, "hub:"]);
    let reply = get(&server, "/some/path");
    reply.is(426);
    assert_eq!(reply.header("Upgrade"), Some("websocket"));
    assert_eq!(reply.header("Connection"), Some("upgrade, close"));
    assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"));
    assert!(reply.header("Date").unwrap().ends_with(" GMT"));
    assert_eq!(
        reply.text(),
        "this is a WebSocket server; try: towline connect ws://localhost/some/path\n"
    );
    // A link must not put a second command into the line that is copied to a shell.
    let reply = get(&server, "/;rm$(x)");
    assert!(reply.text().ends_with(" connect 'ws://localhost/;rm$(x)'\n"), "{}", reply.text());
}

#[test]
fn routes_choose_the_target() {
    let routes = ["--route", "/chat=echo:exact", "--route", "/logs/*=echo:logs"];
    let server = Towline::serve([ANY, "echo:main"].into_iter().chain(routes));
    assert_eq!(says(&server, "/chat").as_deref(), Ok("exact"));
    assert_eq!(says(&server, "/ch%61t?x=/").as_deref(), Ok("exact"));
    assert_eq!(says(&server, "/logs/a/b").as_deref(), Ok("logs"));
    assert_eq!(says(&server, "/elsewhere").as_deref(), Ok("main"), "the listener has no path");
    get(&server, "/chat").is(426);
    get(&server, "/logs/a").is(426);
    let reply = get(&server, "/elsewhere");
    assert_eq!(
        reply.is(404).text(),
        "nothing is at /elsewhere; WebSockets are at\n  ws://localhost/\n  \
         ws://localhost/logs/*\n  ws://localhost/chat\n"
    );
}

#[test]
fn a_listener_with_a_path_has_no_other() {
    let server = Towline::serve(["ws://127.0.0.1:0/live", "echo:main", "--route", "/x=echo:x"]);
    assert_eq!(says(&server, "/live").as_deref(), Ok("main"));
    assert_eq!(says(&server, "/x").as_deref(), Ok("x"));
    for path in ["/", "/live/", "/liv", "/other"] {
        assert_eq!(says(&server, path), Err("404".to_owned()), "{path}");
    }
    get(&server, "/live").is(426);
    get(&server, "/other").is(404);
}

#[test]
fn a_path_with_two_targets_is_refused() {
    let args = ["serve", ANY, "echo:", "--route", "/a=echo:", "--route", "/a=null:"];
    Towline::new().args(args).run().code(2).stderr_has("--route has two targets for /a");
}

#[test]
fn the_state_can_be_watched() {
    let server = Towline::serve([ANY, "echo:"]);
    let reply = get(&server, "/healthz");
    assert_eq!(reply.is(200).text(), "ok\n");
    assert_eq!(says(&server, "/").as_deref(), Ok(""));
    wait_until("the peer has left", || {
        let page = get(&server, "/metrics");
        page.text().contains("\ntowline_peers 0\n")
            && page.text().contains("towline_peers_total 1\n")
    });
    let page = get(&server, "/metrics");
    assert_eq!(page.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in page.text().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "#" => assert!(matches!(words[1], "HELP" | "TYPE"), "{line}"),
            name => {
                assert!(name.starts_with("towline_"), "{line}");
                words[1].parse::<u64>().unwrap();
                assert_eq!(words.len(), 2, "{line}");
            }
        }
    }
    let silent = Towline::serve([ANY, "hub:", "--no-status"]);
    get(&silent, "/healthz").is(426);
    get(&silent, "/metrics").is(426);
    let routed = Towline::serve([ANY, "hub:", "--route", "/healthz=echo:", "--route", "/*=null:"]);
    get(&routed, "/healthz").is(426);
    get(&routed, "/metrics").is(200);
}

#[test]
fn a_connection_carries_several_requests() {
    let server = Towline::serve([ANY, "echo:"]);
    let mut client = Client::new(server.port());
    client.ask("GET /healthz HTTP/1.1\r\nHost: a").is(200);
    let head = client.ask("HEAD /healthz HTTP/1.1\r\nHost: a");
    assert_eq!(head.is(200).header("Content-Length"), Some("3"));
    client.ask("GET /nothing HTTP/1.1\r\nHost: a").is(426);
    // Two at once, and then a WebSocket.
    let one = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    client.say(&format!("{one}{one}"));
    client.reply(false).is(200);
    client.reply(false).is(200);
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    client.ask(upgrade).is(101);
    // A frame with an empty mask.
    client.0.get_mut().write_all(b"\x81\x82\0\0\0\0hi").unwrap();
    let mut frame = [0; 4];
    client.0.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x81\x02hi");

    let mut client = Client::new(server.port());
    let last = client.ask("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close");
    assert_eq!(last.is(200).header("Connection"), Some("close"));
    client.ends();
}

#[test]
fn what_is_not_understood_is_refused_and_closed() {
    let server = Towline::serve([ANY, "echo:"]);
    for (request, status) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let mut client = Client::new(server.port());
        client.say(request);
        let reply = client.reply(false);
        reply.is(status);
        assert_eq!(reply.header("Connection"), Some("close"), "{request}");
        client.ends();
    }
    // An answer must not be lost because most of the body was never read.
    let mut client = Client::new(server.port());
    let body = "x".repeat(500_000);
    client.say(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n{body}"));
    client.reply(false).is(405);
    client.ends();

    let mut client = Client::new(server.port());
    let reply = client.ask("DELETE / HTTP/1.1\r\nHost: a");
    assert_eq!(reply.is(405).header("Allow"), Some("GET, HEAD"));
    client.ask("OPTIONS * HTTP/1.1\r\nHost: a").is(405);
    client.ask("GET /healthz HTTP/1.1\r\nHost: a").is(200);
}

#[test]
fn a_handshake_that_fails_says_why() {
    let server = Towline::serve([ANY, "echo:"]);
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8";
    let mut client = Client::new(server.port());
    let reply = client.ask(upgrade);
    assert_eq!(reply.is(426).header("Sec-WebSocket-Version"), Some("13"));
    assert_eq!(reply.header("Connection"), Some("upgrade, close"));
    client.ends();
    for (head, status) in [
        ("GET / HTTP/1.1\r\nA : b\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(20_000)), 431),
    ] {
        let mut client = Client::new(server.port());
        client.say(&head);
        client.reply(false).is(status);
        client.ends();
    }
}

/// A directory to serve, with a neighbour that must not be.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("www/sub dir")).unwrap();
    fs::create_dir_all(root.join("www/empty")).unwrap();
    for (name, text) in [
        ("www/index.html", "<p>index"),
        ("www/app.js", "0123456789"),
        ("www/sub dir/index.html", "<p>sub"),
        ("www/data.unknown", "?"),
        ("www/.env", "SECRET"),
        ("secret.txt", "SECRET"),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
    symlink("../secret.txt", root.join("www/link.txt")).unwrap();
    dir
}

fn serve_site(dir: &Path, more: &[&str]) -> Running {
    let www = dir.join("www");
    let args = [ANY, "echo:", "--static", www.to_str().unwrap()];
    Towline::serve(args.iter().chain(more))
}

#[test]
fn files_are_served() {
    let dir = site();
    let server = serve_site(dir.path(), &[]);
    for (path, kind, body) in [
        ("/", "text/html; charset=utf-8", "<p>index"),
        ("/index.html?v=1", "text/html; charset=utf-8", "<p>index"),
        ("/app.js", "text/javascript; charset=utf-8", "0123456789"),
        ("/sub%20dir/", "text/html; charset=utf-8", "<p>sub"),
        ("/data.unknown", "application/octet-stream", "?"),
    ] {
        let reply = get(&server, path);
        assert_eq!(reply.is(200).text(), body);
        assert_eq!(reply.header("Content-Type"), Some(kind), "{path}");
        assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"));
    }
    // Without the slash, relative links of the page would lead to the wrong place.
    let reply = get(&server, "//sub%20dir?a=b");
    assert_eq!(reply.is(301).header("Location"), Some("/sub%20dir/?a=b"));
    for path in ["/missing.css", "/empty", "/empty/", "/app.js/"] {
        get(&server, path).is(404);
    }
    let mut client = Client::new(server.port());
    let head = client.ask("HEAD /app.js HTTP/1.1\r\nHost: localhost");
    assert_eq!(head.is(200).header("Content-Length"), Some("10"));
    client.ask("GET /healthz HTTP/1.1\r\nHost: a").is(200);
    assert_eq!(says(&server, "/any").as_deref(), Ok(""), "WebSockets go on");
}

#[test]
fn nothing_outside_the_directory_is_served() {
    let dir = site();
    let server = serve_site(dir.path(), &[]);
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/empty/../../secret.txt",
        "/empty/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/./../secret.txt",
        "//../secret.txt",
        "/....//secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/app.js%00.txt",
        "/link.txt",
        "/.env",
        "/%2eenv",
        "/empty/../.env",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
    ] {
        let reply = get(&server, path);
        reply.is(404);
        assert!(!reply.text().contains("SECRET"), "{path}");
    }
}

#[test]
fn what_is_known_is_not_sent_again() {
    let dir = site();
    let server = serve_site(dir.path(), &[]);
    let first = get(&server, "/app.js");
    let (tag, date) = (first.header("ETag").unwrap(), first.header("Last-Modified").unwrap());
    for (condition, status) in [
        (format!("If-None-Match: {tag}"), 304),
        (format!("If-None-Match: \"x\", W/{tag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}"), 200),
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 200),
        ("If-Modified-Since: yesterday".to_owned(), 200),
    ] {
        let reply = get_with(&server, "/app.js", &format!("{condition}\r\n"));
        assert_eq!(reply.status, status, "{condition}");
        assert_eq!(reply.header("ETag"), Some(tag));
        assert_eq!(reply.body.is_empty(), status == 304);
    }
    fs::write(dir.path().join("www/app.js"), "changed").unwrap();
    let changed = get_with(&server, "/app.js", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(changed.is(200).text(), "changed");
}

#[test]
fn a_part_of_a_file() {
    let dir = site();
    let server = serve_site(dir.path(), &[]);
    let tag = get(&server, "/app.js").header("ETag").unwrap().to_owned();
    for (range, status, about, body) in [
        ("Range: bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("Range: bytes=8-", 206, Some("bytes 8-9/10"), "89"),
        ("Range: bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("Range: bytes=0-99", 206, Some("bytes 0-9/10"), "0123456789"),
        ("Range: bytes=10-", 416, Some("bytes */10"), "the file has 10 bytes\n"),
        ("Range: bytes=0-1,4-5", 200, None, "0123456789"),
        ("Range: bytes=5-2", 200, None, "0123456789"),
        ("Range: bytes=2-4\r\nIf-Range: \"old\"", 200, None, "0123456789"),
        (&format!("Range: bytes=2-4\r\nIf-Range: {tag}"), 206, Some("bytes 2-4/10"), "234"),
    ] {
        let reply = get_with(&server, "/app.js", &format!("{range}\r\n"));
        assert_eq!((reply.status, reply.text()), (status, body), "{range}");
        assert_eq!(reply.header("Content-Range"), about, "{range}");
    }
}

#[test]
fn a_large_file_is_not_read_into_memory() {
    const LEN: u64 = 256 << 20;
    let dir = site();
    fs::File::create(dir.path().join("www/big")).unwrap().set_len(LEN).unwrap();
    let server = serve_site(dir.path(), &[]);
    let mut client = Client::new(server.port());
    client.say("GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        client.0.read_line(&mut head).unwrap();
    }
    assert_eq!(std::io::copy(&mut client.0, &mut std::io::sink()).unwrap(), LEN);
    let status =
        fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak << 10 < LEN / 2, "{peak} kB");
}

#[test]
fn a_download_is_finished_when_the_server_is_to_end() {
    // More than the sockets hold.
    const LEN: u64 = 64 << 20;
    let dir = site();
    fs::File::create(dir.path().join("www/big")).unwrap().set_len(LEN).unwrap();
    let server = serve_site(dir.path(), &["--drain", "1h"]);
    let mut idle = Client::new(server.port());
    idle.ask("GET /app.js HTTP/1.1\r\nHost: localhost").is(200);
    let mut client = Client::new(server.port());
    client.say("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.0.fill_buf().unwrap();
    server.signal(Signal::TERM);
    // Those who have asked for nothing are not waited for.
    idle.ends();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        client.0.read_line(&mut head).unwrap();
    }
    assert_eq!(std::io::copy(&mut client.0, &mut std::io::sink()).unwrap(), LEN);
    server.wait().code(0);
}

#[test]
fn visitors_of_the_site_are_no_handshakes_in_flight() {
    let server = Towline::serve([ANY, "hub:", "--max-handshakes", "1"]);
    let visitors: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Client::new(server.port());
            client.ask("GET /healthz HTTP/1.1\r\nHost: localhost").is(200);
            client
        })
        .collect();
    drop(Ws::connect(&server.address()));
    drop(visitors);
    // An upgrade that is turned away, and a head that is none.
    for head in ["GET / HTTP/1.1\r\nUpgrade: websocket", "noise"] {
        Client::new(server.port()).ask(head).is(400);
    }
    let figures = || get(&server, "/metrics").text().to_owned();
    wait_until("two were refused, no visitor", || {
        figures().contains("\ntowline_refused_total 2\n")
    });
}

#[test]
fn a_directory_that_is_none_is_refused() {
    for dir in ["/nonexistent", "/dev/null"] {
        let run = Towline::new().args(["serve", ANY, "echo:", "--static", dir]).run();
        run.code(2).stderr_has(&format!("--static {dir}: "));
    }
}

fn secrets(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn basic(pair: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(pair))
}

#[test]
fn strangers_are_asked_who_they_are() {
    let (users, tokens) = (secrets("# ours\nann:x:y\n"), secrets("t0ken\n"));
    let (users, tokens) = (users.path().to_str().unwrap(), tokens.path().to_str().unwrap());
    let server = Towline::serve([ANY, "echo:", "--basic-auth", users, "--bearer-auth", tokens]);
    get(&server, "/healthz").is(200);
    for path in ["/", "/metrics", "/nothing"] {
        let reply = get(&server, path);
        let challenges: Vec<_> = reply.is(401).headers("WWW-Authenticate").collect();
        assert_eq!(
            challenges,
            ["Basic realm=\"towline\", charset=\"UTF-8\"", "Bearer realm=\"towline\""]
        );
    }
    assert_eq!(says(&server, "/"), Err("401".to_owned()));
    for given in ["Authorization: Bearer t0ken\r\n", &basic("ann:x:y")] {
        get_with(&server, "/metrics", given).is(200);
        let mut ws = Ws::connect_with(&server.address(), given);
        ws.text("hi");
        assert_eq!(ws.recv().text(), "hi");
    }
    for given in ["Authorization: Bearer t0ke\r\n", &basic("ann:x"), &basic("# ours"), &basic("")] {
        get_with(&server, "/metrics", given).is(401);
    }
    assert!(!server.stderr().contains("chmod"), "{}", server.stderr());
}

#[test]
fn users_change_while_it_runs() {
    let users = secrets("ann:old\n");
    fs::set_permissions(users.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let server = Towline::serve([ANY, "echo:", "--basic-auth", users.path().to_str().unwrap()]);
    server.stderr_line(|line| line.contains("other users can read it; try chmod 600 "));
    get_with(&server, "/", &basic("ann:old")).is(200);
    fs::write(users.path(), "ann:newer\n").unwrap();
    wait_until("the new password counts", || {
        get_with(&server, "/", &basic("ann:newer")).status == 200
    });
    get_with(&server, "/", &basic("ann:old")).is(401);
    fs::write(users.path(), "no colon\n").unwrap();
    wait_until("the bad line is reported", || {
        get_with(&server, "/", &basic("ann:newer")).is(200);
        server.stderr().contains("line 1: a line is written USER:PASSWORD; the old list stays")
    });
}

#[test]
fn a_list_that_cannot_be_read_is_refused() {
    for flag in ["--basic-auth", "--bearer-auth"] {
        let run = Towline::new().args(["serve", ANY, "echo:", flag, "/nonexistent"]).run();
        run.code(2).stderr_has("/nonexistent: no such file or directory");
    }
}

#[test]
fn the_page_is_for_echo_on_this_machine() {
    let server = Towline::serve(["ws://127.0.0.1:0/a\"b", "echo:", "--route", "/x*=null:"]);
    let reply = get(&server, "/");
    reply.is(200);
    assert_eq!(reply.header("Content-Type"), Some("text/html; charset=utf-8"));
    let policy = reply.header("Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(reply.text().contains("<option value=\"/a&quot;b\"><option value=\"/x*\">"));
    for (args, status) in [
        (&["echo:", "--no-page"][..], 426),
        (&["hub:"], 426),
        (&["hub:", "--page"], 200),
        (&["echo:", "--no-page", "--page"], 200),
    ] {
        get(&Towline::serve([&[ANY], args].concat()), "/").is(status);
    }
    let dir = site();
    assert_eq!(get(&serve_site(dir.path(), &[]), "/").text(), "<p>index");
    let both = serve_site(dir.path(), &["--page"]);
    assert!(get(&both, "/").text().contains("<title>towline"));
    get(&both, "/app.js").is(200);
}

#[test]
fn answers_are_logged() {
    let server = Towline::serve([ANY, "echo:", "--access-log"]);
    get(&server, "/healthz?a=b");
    server.stderr_line(|line| {
        line.starts_with("127.0.0.1:") && line.ends_with(" GET /healthz 200 out 3B")
    });
    let server = Towline::serve([ANY, "echo:", "--access-log=json"]);
    Client::new(server.port()).ask("HEAD /x HTTP/1.1\r\nHost: a").is(426);
    let line = server.stderr_line(|line| line.starts_with('{'));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["listener"], server.address());
    assert_eq!(
        (&line["event"], &line["method"], &line["path"], &line["status"], &line["bytes_out"]),
        (&"request".into(), &"HEAD".into(), &"/x".into(), &426.into(), &0.into())
    );
}

#[test]
fn a_peer_that_logs_in_has_a_name() {
    let users = secrets("ann:x\nbob:y\n");
    let args = [ANY, "hub:", "--frame", "json", "--basic-auth", users.path().to_str().unwrap()];
    let server = Towline::serve(args.into_iter().chain(["--access-log=json"]));
    let mut ann = Ws::connect_with(&server.address(), &basic("ann:x"));
    ann.close(1000, "");
    assert_eq!(ann.recv().opcode(), Frame::CLOSE);
    let line = server.stderr_line(|line| line.contains("\"left\""));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["name"], "ann");
}

/// JSON alone escapes what terminals of 1980 obey, not what those of today do.
#[test]
fn a_path_in_the_json_access_log_commands_no_terminal() {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:", "--access-log=json"]);
    let head = "GET /\u{9b}31m\u{202e} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    crate::support::exchange(server.port(), head);
    let line = server.stderr_line(|line| line.contains("request"));
    assert!(line.contains(r"/\u009b31m\u202e"), "{line}");
}
