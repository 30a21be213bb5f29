//! `exec:`, `sh:` and `pty:`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;

use rustix::process::{Pid, Signal, test_kill_process};

use crate::support::{DEADLINE, Frame, Running, Towline, Ws, wait_until, ws_server};

#[test]
fn a_failed_child_fails_the_run() {
    let run = Towline::connect(["exec:false"]).run();
    run.code(14).stdout("").stderr_is("towline: exec:false: exit 1\n");
    let run = Towline::connect(["sh:echo partial; exit 3"]).run();
    run.code(14).stdout("partial\n").stderr_has("exit 3");
    let run = Towline::connect(["sh:kill -KILL $$"]).run();
    run.code(14).stderr_has("signal 9 (SIGKILL)");
}

#[test]
fn a_child_that_fails_after_its_output_has_ended_fails_the_run() {
    let run = Towline::connect(["sh:exec >&-; cat >/dev/null; sleep 1.5; exit 4"]).stdin("x\n");
    run.run().code(14).stderr_has("exit 4");
}

#[test]
fn a_program_that_is_not_there_is_said_to_be_so() {
    let run = Towline::connect(["exec:no-such-program --flag"]).run();
    run.code(14).stderr_is(
        "towline: exec:no-such-program --flag: no such program\n\
         hint: `no-such-program` is not in PATH; a line for the shell is written sh:LINE\n",
    );
    Towline::connect(["exec:/etc/passwd"]).run().code(14).stderr_has("permission denied");
    Towline::connect(["exec:"]).run().code(2).stderr_has("a command is missing");
    Towline::connect(["exec:echo 'a"]).run().code(2).stderr_has("a quote is not closed");
}

#[test]
fn a_server_says_at_its_start_what_program_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("greet");
    let (mine, route) = (format!("exec:{} hello", program.display()), "/a=exec:no-such-program");
    let serve = ["serve", "ws://127.0.0.1:0/", "--route", route, "--route", "/b=exec:true"];
    let serve = serve.into_iter().chain(["--route", "/c=sh:no-such-program", &mine]);
    let server = Towline::new().args(serve).spawn();
    let address = server.address();
    let said = server.stderr();
    let missing: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("towline: no such program: ")).collect();
    let then = "it is looked for again for each peer";
    let mine = format!("{}; {then}", program.display());
    assert_eq!(missing, [format!("no-such-program; {then}"), mine]);
    // It may come later.
    symlink("/bin/echo", &program).unwrap();
    assert_eq!(Ws::connect(&address).recv().text(), "hello");
}

#[test]
fn the_end_of_input_reaches_the_child_and_its_answer_comes_back() {
    Towline::connect(["sh:sort"]).stdin("b\nc\na").run().code(0).stdout("a\nb\nc\n");
    let words = Towline::connect([r#"exec:printf '%s|' "a  b" c\ d $HOME"#]).run();
    words.code(0).stdout("a  b|c d|$HOME|");
}

#[test]
fn every_byte_comes_through() {
    let bytes: Vec<u8> =
        (0..1_u32 << 18).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    Towline::connect(["exec:cat"]).stdin(bytes.clone()).run().code(0).stdout_bytes(bytes);
}

#[test]
fn what_a_child_says_on_stderr_is_told_apart() {
    let run = Towline::connect(["sh:echo oops >&2; printf 'no newline' >&2; printf out"]).run();
    run.code(0).stdout("out");
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{run}");
    for (line, text) in lines.iter().zip(["oops", "no newline"]) {
        let pid =
            line.strip_prefix("[sh ").and_then(|rest| rest.strip_suffix(&format!("] {text}")));
        assert!(pid.is_some_and(|pid| pid.parse::<u32>().is_ok()), "{line:?}");
    }
    Towline::connect(["exec:ls /no-such-file"]).run().stderr_has("[exec ls ");
}

#[test]
fn a_child_that_stops_reading_is_no_failure_unless_it_says_so() {
    let much = "line\n".repeat(1 << 20);
    Towline::connect(["exec:head -n 1"]).stdin(much.clone()).run().code(0).stdout("line\n");
    let run = Towline::connect(["sh:head -n 1; exit 5"]).stdin(much).run();
    run.code(14).stdout("line\n").stderr_has("exit 5").stderr_lacks("broken pipe");
}

#[test]
fn a_child_that_closes_its_output_is_still_written_to() {
    let towline = Towline::connect(["sh:exec >&-; cat >heard"]).stdin_open();
    let heard = towline.home().join("heard");
    let mut running = towline.spawn();
    running.write("one\n");
    wait_until("the child hears", || fs::read(&heard).is_ok_and(|heard| heard == b"one\n"));
    running.write("two\n");
    wait_until("the child hears", || fs::read(&heard).is_ok_and(|heard| heard == b"one\ntwo\n"));
    running.close_stdin();
    running.wait().code(0).stdout("");
}

#[test]
fn a_child_that_ignores_all_requests_is_killed() {
    let server = Towline::serve([
        "--stop-grace=50ms",
        "ws://127.0.0.1:0",
        "sh:trap '' HUP TERM; echo $$; while :; do sleep 1; done",
    ]);
    let (mut ws, pid) = ws_and_pid(&server);
    ws.close(1000, "");
    gone(pid);
    server.stderr_line(|line| line.ends_with("did not stop; killed"));
}

#[test]
fn what_a_child_has_started_is_stopped_with_it() {
    let server = Towline::serve(["ws://127.0.0.1:0", "sh:sleep 1000 & echo $!; wait"]);
    let (mut ws, pid) = ws_and_pid(&server);
    ws.close(1000, "");
    gone(pid);
}

#[test]
fn what_a_child_has_left_behind_is_stopped_too() {
    let server = Towline::serve(["ws://127.0.0.1:0", "sh:sleep 1000 >&- 2>&- & echo $!"]);
    let (mut ws, pid) = ws_and_pid(&server);
    assert_eq!(ws.until_close(), 1000);
    gone(pid);
}

#[test]
fn a_child_whose_peer_leaves_may_end_by_itself() {
    let end = "cat >/dev/null; trap '' HUP; echo ended >log; exit 9";
    let towline = Towline::new().arg("serve").arg("--stop-grace=1h");
    let towline = towline.args(["ws://127.0.0.1:0", &format!("sh:echo $$; {end}")]);
    let log = towline.home().join("log");
    let server = towline.spawn();
    let (mut ws, pid) = ws_and_pid(&server);
    ws.close(1000, "");
    gone(pid);
    assert_eq!(fs::read_to_string(log).unwrap(), "ended\n");
}

#[test]
fn a_child_that_has_ended_ends_the_run_whatever_the_input_does() {
    for child in ["exec:true", "pty:true"] {
        Towline::connect([child]).stdin_open().run().code(0);
        let server = Towline::serve(["ws://127.0.0.1:0", child]);
        Towline::connect([server.address()]).stdin_open().run().code(0).stderr_is_empty();
        let server = Towline::serve(["tcp://127.0.0.1:0", child]);
        let mut peer = connect(&server);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        wait_until("the connection is given up", || peer.write_all(b"x").is_err());
    }
}

#[test]
fn a_child_that_only_feeds_another_leaves_that_to_finish() {
    let consumer = "sh:cat >heard; sleep 0.5; echo done >>heard";
    let run = Towline::connect(["--stop-grace=50ms", "exec:echo fed", consumer]);
    let heard = run.home().join("heard");
    let mut run = run.spawn();
    wait_until("the consumer is done", || {
        fs::read(&heard).is_ok_and(|heard| heard == b"fed\ndone\n") || !run.runs()
    });
    run.wait().code(0).stderr_is_empty();
}

#[test]
fn a_child_that_is_never_done_is_stopped_when_its_reader_leaves() {
    let server = Towline::serve(["--stop-grace=50ms", "ws://127.0.0.1:0", "sh:echo $$; exec yes"]);
    let client = Towline::connect([server.address()]).stdin_open().stdout_closes_after(64).run();
    client.code(0);
    gone(pid(client.stdout.split_inclusive(|byte| *byte == b'\n').next().unwrap()));
}

#[test]
fn a_child_whose_peer_is_lost_is_hung_up_on_at_once() {
    let towline = Towline::new().arg("serve").args([
        "--stop-grace=1h",
        "ws://127.0.0.1:0",
        "sh:trap 'echo hung up >log; exit' HUP; echo $$; while :; do sleep 0.1; done",
    ]);
    let log = towline.home().join("log");
    let server = towline.spawn();
    let (ws, pid) = ws_and_pid(&server);
    drop(ws);
    gone(pid);
    assert_eq!(fs::read_to_string(log).unwrap(), "hung up\n");
}

#[test]
fn no_child_outlives_the_run() {
    for signal in [Signal::TERM, Signal::INT] {
        let child = "sh:trap '' HUP TERM; echo $$; cat; sleep 1000";
        let mut running = Towline::connect(["--stop-grace=50ms", child]).stdin_open().spawn();
        let pid = pid(&running.read_until("\n"));
        running.signal(signal);
        running.wait();
        assert!(test_kill_process(pid).is_err(), "{pid:?} still runs after {signal:?}");
    }
    let server = Towline::serve(["ws://127.0.0.1:0", "sh:echo $$; sleep 1000"]);
    let (_ws, pid) = ws_and_pid(&server);
    server.signal(Signal::TERM);
    server.wait();
    assert!(test_kill_process(pid).is_err(), "{pid:?} still runs");
}

#[test]
fn no_child_outlives_a_run_that_is_ended_at_once() {
    let child = "sh:trap '' HUP TERM; echo $$; cat; while :; do sleep 1; done";
    let mut running = Towline::connect(["-v", "--stop-grace=1h", child]).stdin_open().spawn();
    let pid = pid(&running.read_until("\n"));
    running.signal(Signal::TERM);
    running.stderr_line(|line| line.ends_with("stopping it with SIGHUP"));
    running.signal_until_it_ends(Signal::TERM).code(143);
    gone(pid);
}

#[test]
fn there_are_no_more_children_than_allowed() {
    let server = Towline::serve(["tcp://127.0.0.1:0", "--max-children=2", "exec:cat"]);
    let mut peers = [connect(&server), connect(&server)];
    for peer in &mut peers {
        peer.write_all(b"hi").unwrap();
        let mut hi = [0; 2];
        peer.read_exact(&mut hi).unwrap();
    }
    let mut third = connect(&server);
    assert!(matches!(third.read(&mut [0; 1]), Ok(0) | Err(_)));
    server.stderr_line(|line| line.contains("exec:cat: 2 children are running already"));
    // Whoever leaves makes room.
    let [first, _second] = peers;
    first.shutdown(Shutdown::Write).unwrap();
    drop(first);
    wait_until("a child may be started again", || {
        let mut peer = connect(&server);
        let _ = peer.write_all(b"x");
        matches!(peer.read(&mut [0; 1]), Ok(1))
    });
}

#[test]
fn a_child_is_told_about_its_peer_as_cgi_programs_are() {
    let towline = Towline::new().arg("serve").args(["ws://127.0.0.1:0", "exec:env"]);
    let towline = towline.env("KEPT", "yes").env("HTTP_FORGED", "x").env("REMOTE_USER", "root");
    let server = towline.spawn();
    let address = format!("{}/a%20b?c=d", server.address());
    let headers = "X-Two-Words: 1\r\nX-Two-Words: 2\r\nProxy: evil\r\nX_Forged: x\r\n";
    let mut ws = Ws::connect_with(&address, headers);
    let mut said = Vec::new();
    let close = loop {
        let frame = ws.recv();
        match frame.opcode() {
            Frame::CLOSE => break frame.code(),
            _ => said.push(frame.text().to_owned()),
        }
    };
    assert_eq!(close, 1000);
    let port = server.port().to_string();
    let ours = ws.stream.local_addr().unwrap();
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "HTTP_X_TWO_WORDS=1, 2",
        "KEPT=yes",
        "PATH_INFO=/a b",
        "QUERY_STRING=c=d",
        "REMOTE_ADDR=127.0.0.1",
        &format!("REMOTE_PORT={}", ours.port()),
        "REQUEST_METHOD=GET",
        "REQUEST_URI=/a%20b?c=d",
        "SERVER_NAME=localhost",
        &format!("SERVER_PORT={port}"),
        "SERVER_PROTOCOL=HTTP/1.1",
        concat!("SERVER_SOFTWARE=towline/", env!("CARGO_PKG_VERSION")),
        &format!("TOWLINE_PEER={ours}"),
    ] {
        assert!(said.iter().any(|it| it == line), "{line} is not in {said:#?}");
    }
    for name in ["HTTP_PROXY=", "HTTP_X_FORGED=", "HTTP_FORGED=", "REMOTE_USER=", "HTTPS="] {
        assert!(!said.iter().any(|it| it.starts_with(name)), "{name} is in {said:#?}");
    }
}

#[test]
fn how_a_child_ends_is_how_its_websocket_closes() {
    for (target, code, reason) in [
        ("exec:true", 1000, ""),
        ("sh:exit 7", 1011, "exit 7"),
        ("exec:nosuch", 1011, "no such program"),
    ] {
        let server = Towline::serve(["ws://127.0.0.1:0", target]);
        let close = Ws::connect(&server.address()).recv();
        assert_eq!((close.code(), close.reason()), (code, reason), "{target}");
    }
}

#[test]
fn a_child_can_carry_the_next_hop() {
    let server = ws_server(Ws::echo);
    let carrier =
        format!("exec:{} connect - tcp://{}", env!("CARGO_BIN_EXE_towline"), server.address());
    let address = format!("{carrier},{}", server.ws("/"));
    Towline::connect([address]).stdin("over pipes\n").run().code(0).stdout("over pipes\n");
}

#[test]
fn a_terminal_is_one() {
    Towline::connect(["pty:test -t 0 && test -t 1 && stty size"]).run().code(0).stdout("24 80\r\n");
    Towline::connect(["pty:exit 6"]).run().code(14).stderr_is("towline: pty:exit 6: exit 6\n");
}

#[test]
fn the_end_of_input_is_typed_on_a_terminal() {
    let child = "pty:stty -echo; echo ready; cat; echo; echo done";
    for input in ["line\n", "line"] {
        let mut running = Towline::connect([child]).stdin_open().spawn();
        running.read_until("ready\r\n");
        running.write(input);
        running.close_stdin();
        running.wait().code(0).stdout_has("\r\nline").stdout_has("done\r\n");
    }
}

fn connect(server: &Running) -> TcpStream {
    let peer = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    peer
}

/// Connects, and reads the process id that the child says first.
fn ws_and_pid(server: &Running) -> (Ws, Pid) {
    let mut ws = Ws::connect(&server.address());
    let pid = pid(&ws.recv().payload);
    (ws, pid)
}

fn pid(line: &[u8]) -> Pid {
    let line = std::str::from_utf8(line).unwrap();
    Pid::from_raw(line.trim().parse().unwrap()).unwrap()
}

fn gone(pid: Pid) {
    wait_until("the process is gone", || test_kill_process(pid).is_err());
}
