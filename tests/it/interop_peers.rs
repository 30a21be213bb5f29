//! WebSocket clients and servers of other people: Python's websockets and aiohttp, npm's ws and
//! wscat, websocketd.

use std::collections::BTreeSet;

use crate::support::{ClosedPort, Output, Running, Towline, noise, peers};

/// A server of Python's websockets that knows these subprotocols.
fn websockets(subprotocols: &[&str]) -> Running {
    peers::python("websockets_server.py").args(subprotocols).spawn()
}

fn at(server: &Running, path: &str) -> String {
    format!("{}{path}", server.address())
}

#[test]
fn websockets_is_answered_in_kind() {
    let server = websockets(&[]);
    let echo = at(&server, "/echo");
    Towline::connect([&echo]).stdin("héllo\n\ntwo").run().code(0).stdout("héllo\n\ntwo\n");
    let json = "{\"type\":\"text\",\"data\":\"a\\nb\"}\n{\"type\":\"binary\",\"b64\":\"AP8=\"}\n";
    let back = Towline::connect([&echo, "--frame=json", "--count=2"]).stdin(json).run();
    back.code(0);
    for message in [r#""type":"text","data":"a\nb""#, r#""type":"binary","b64":"AP8=""#] {
        back.stdout_has(message);
    }
}

#[test]
fn a_late_reply_of_websockets_is_delivered() {
    let server = websockets(&[]);
    Towline::connect([at(&server, "/late")]).stdin("ask\n").run().code(0).stdout("re: ask\n");
}

#[test]
fn websockets_grants_a_subprotocol_that_it_knows() {
    let server = websockets(&["chat"]);
    let granted = at(&server, "/granted");
    let ask = |flags: &[&str]| Towline::connect([&granted]).args(flags).stdin("got\n").run();
    ask(&["--subprotocol", "other,chat"]).code(0).stdout("got: chat\n");
    // It wants one of its own, and what we offer on our own account is not the hindrance.
    ask(&[]).code(6).stderr_has("missing subprotocol");
    ask(&["--subprotocol", "other"]).code(6).stderr_has("expected one of chat");
}

#[test]
fn the_close_of_websockets_is_told() {
    let server = websockets(&[]);
    let close = |path| Towline::connect([at(&server, path)]).stdin_open().run();
    close("/close/1000/bye").code(0).stdout("last words\n").stderr_is_empty();
    close("/close/1001/restart").code(10).stdout("last words\n").stderr_has("1001 restart");
    close("/close/4001/quota").code(10).stdout("last words\n").stderr_has("4001 quota");
    close("/vanish").code(11).stdout("half a st\n").stderr_has("connection lost without a Close");
}

#[test]
fn a_refusal_of_websockets_is_told_with_its_body() {
    let server = websockets(&[]);
    let refused = Towline::connect([at(&server, "/refuse")]).stdin_open().run();
    refused.code(6).stderr_has("HTTP 401").stderr_has("log in first");
}

#[test]
fn websockets_gets_big_messages_back_as_they_were() {
    let server = websockets(&[]);
    let big = noise(20 << 20);
    let echo = [&at(&server, "/echo"), "--binary", "--frame=whole", "--count=1"];
    Towline::connect(echo).stdin(big.clone()).run().code(0).stdout_bytes(big);
}

#[test]
fn fragments_of_websockets_are_one_message() {
    let server = websockets(&[]);
    let got = Towline::connect([&at(&server, "/fragments"), "--frame=len"]).stdin_open().run();
    got.code(0).stdout_bytes(b"\0\0\0\x13one message in four\0\0\0\x02\xff\0");
}

#[test]
fn pings_are_answered_on_both_sides() {
    let server = websockets(&[]);
    let pings = Towline::connect([at(&server, "/pings")]).stdin_open().run();
    pings.code(0).stdout("3 pongs\n");
    let patient = ["--ping-interval=20ms", "--ping-timeout=20s", "-vv"];
    let late = Towline::connect([at(&server, "/late")]).args(patient).stdin("ask\n").run();
    late.code(0).stdout("re: ask\n").stderr_has("pong");
}

#[test]
fn websockets_is_a_client_of_echo() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let client = peers::python("websockets_client.py").args(["echo", &server.address()]).run();
    client.code(0).stderr_is_empty();
}

#[test]
fn websockets_is_a_client_of_a_hub() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "hub:room"]);
    let client = peers::python("websockets_client.py").args(["hub", &server.address()]).run();
    client.code(0).stderr_is_empty();
}

#[test]
fn websockets_is_a_client_of_a_program() {
    let program =
        r#"sh:while read -r line; do case $line in exit*) $line ;; esac; echo "$line"; done"#;
    let server = Towline::serve(["ws://127.0.0.1:0/", program]);
    let client = peers::python("websockets_client.py").args(["exec", &server.address()]).run();
    client.code(0).stderr_is_empty();
}

#[test]
fn aiohttp_is_a_server() {
    let server = peers::python("aiohttp_server.py").spawn();
    let run = |path, flags: &[&str]| -> Output {
        let address = at(&server, path);
        Towline::connect([&address, "--count=1"]).args(flags).stdin("hello\n").run()
    };
    run("/", &[]).code(0).stdout("hello\n");
    run("/", &["--subprotocol=chat"]).code(0).stdout("this is chat\n");
    run("/", &["--subprotocol=other"]).code(7).stderr_has("other");
    run("/private", &["--bearer=secret"]).code(0).stdout("hello\n");
    run("/private", &[]).code(6).stderr_has("HTTP 401").stderr_has("log in first");
    run("/moved", &["--bearer=secret", "--max-redirects=1"]).code(0).stdout("hello\n");
    run("/moved", &["--bearer=secret"]).code(6).stderr_has("HTTP 302");
    let much = Towline::connect([&at(&server, "/"), "--frame=whole", "--binary"]);
    much.stdin(noise(5 << 20)).run().code(10).stderr_has("1009");
}

#[test]
fn a_subprotocol_that_ws_grants_unseen_changes_nothing() {
    let server = peers::node("ws_server.cjs").spawn();
    let address = server.address();
    let lines = Towline::connect([&address]).stdin("one\ntwo\nbye\n").run();
    lines.code(0).stdout("towline.v0 text one\ntowline.v0 text two\n");
    let bridge = Towline::serve(["tcp://127.0.0.1:0", &address, "--frame=lines"]);
    let lines = Towline::connect([bridge.address()]).stdin("one\nbye\n").run();
    lines.code(0).stdout(" text one\n");
    let binary = Towline::connect([&address, "--binary"]).stdin("one\nbye\n").run();
    binary.code(0).stdout(" binary one\n");
}

#[test]
fn ws_need_not_wait_for_answers() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:"]);
    let client = peers::node("ws_client.cjs").arg(server.address()).run();
    client.code(0).stderr_is_empty();
}

#[test]
fn wscat_talks_to_echo() {
    let server = Towline::serve(["ws://127.0.0.1:0/", "echo:you said "]);
    let wscat = peers::installed("node/node_modules/.bin/wscat");
    let flags = ["-c", &server.address(), "-x", "hello", "-w", "20"];
    let mut once = Towline::program(&wscat).args(flags).stdin_open().spawn();
    once.read_until("you said hello");

    let on_terminal = format!("pty:{} -c {}", wscat.display(), server.address());
    let mut typing = Towline::connect([on_terminal]).stdin_open().spawn();
    typing.read_until("Connected");
    typing.write("one\n");
    typing.read_until("< you said one");
    typing.write("two\n");
    typing.read_until("< you said two");
    typing.write("\x03");
    typing.wait().code(0);
}

/// `websocketd COMMAND`, and where it listens.
fn websocketd(command: &[&str]) -> (Running, String) {
    let port = ClosedPort::new();
    let number = format!("--port={}", port.port);
    let start = peers::program("websocketd").args([&number, "--address=127.0.0.1"]).args(command);
    (peers::daemon(&port, start), format!("ws://127.0.0.1:{}", port.port))
}

#[test]
fn websocketd_is_a_server() {
    let (_server, address) = websocketd(&["cat"]);
    let lines = Towline::connect([&address]).stdin("one\n\ntwo").run();
    lines.code(0).stdout("one\n\ntwo\n");
    let (_server, address) = websocketd(&["--binary", "cat"]);
    let args = [&address, "--binary", "--frame=whole", "--count=1"];
    Towline::connect(args).stdin([0, 0xff]).run().code(0).stdout_bytes([0, 0xff]);
}

#[test]
fn a_program_is_told_what_websocketd_tells_it() {
    /// Without anything to say, or a file tree to speak of, we say nothing.
    const THEIRS: [&str; 6] = [
        "AUTH_TYPE",
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "PATH_TRANSLATED",
        "REMOTE_IDENT",
        "REMOTE_USER",
    ];
    /// Go's server keeps Host to itself; the others are inherited but for our own.
    const OURS: [&str; 5] = ["COLUMNS", "HOME", "HTTP_HOST", "NO_COLOR", "TOWLINE_PEER"];

    let names = |address: &str| -> BTreeSet<String> {
        let run = Towline::connect([&format!("{address}/a%20b?c=d")]).stdin_open().run();
        let said = String::from_utf8(run.stdout).unwrap();
        said.lines().map(|line| line.split_once('=').unwrap().0.to_owned()).collect()
    };
    let (_theirs, theirs) = websocketd(&["env"]);
    let ours = Towline::serve(["ws://127.0.0.1:0", "exec:env"]);
    let (theirs, ours) = (names(&theirs), names(&ours.address()));
    assert!(theirs.contains("REMOTE_ADDR"), "{theirs:?}");
    assert_eq!(Vec::from_iter(theirs.difference(&ours)), Vec::from_iter(&THEIRS));
    assert_eq!(Vec::from_iter(ours.difference(&theirs)), Vec::from_iter(&OURS));
}
