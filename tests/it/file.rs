//! `file:PATH`.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::thread;

use crate::support::{Frame, Towline, Ws, wait_until, ws_server};

#[test]
fn a_file_is_copied_and_appended_to_byte_by_byte() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..3_000_001_u32).map(|i| (i ^ (i >> 7) ^ (i >> 15)) as u8).collect();
    fs::write(dir.path().join("a"), &bytes).unwrap();
    fs::write(dir.path().join("b"), "before\n").unwrap();
    let run = Towline::connect(["file:a", "file:b"]).dir(dir.path()).run();
    run.code(0).stdout("").stderr_is_empty();
    let copied = fs::read(dir.path().join("b")).unwrap();
    assert!(copied.strip_prefix(b"before\n").unwrap() == bytes);
}

#[test]
fn the_lines_of_a_file_are_sent_and_the_answers_printed() {
    let server = ws_server(|mut ws| {
        for line in ["{\"id\":1}", "", "last"] {
            let frame = ws.recv();
            assert_eq!((frame.opcode(), frame.text()), (Frame::TEXT, line));
            ws.text(&format!("re: {line}"));
        }
        ws.until_close();
    });
    let towline = Towline::connect(["file:req.jsonl", &server.ws("/")]);
    fs::write(towline.home().join("req.jsonl"), "{\"id\":1}\n\nlast").unwrap();
    towline.run().code(0).stdout("re: {\"id\":1}\nre: \nre: last\n");
}

#[test]
fn a_feed_is_appended_line_by_line() {
    let server = ws_server(|mut ws| {
        ws.text("one");
        ws.text("two");
        ws.close(1000, "");
        ws.recv();
    });
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    fs::write(&out, "zero\n").unwrap();
    let file = format!("file:{}", out.display());
    Towline::connect([&server.ws("/"), &file]).run().code(0).stdout("");
    assert_eq!(fs::read_to_string(&out).unwrap(), "zero\none\ntwo\n");
}

#[test]
fn what_many_peers_say_stays_in_whole_lines() {
    const PEERS: usize = 8;
    const LINES: usize = 40;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Towline::serve(["ws://127.0.0.1:0", &format!("file:{}", log.display())]);
    let address = server.address();
    let peers = (0..PEERS).map(|peer| {
        let address = address.clone();
        thread::spawn(move || {
            let mut ws = Ws::connect(&address);
            for line in 0..LINES {
                ws.text(&format!("{peer} {line} {}", "x".repeat(10_000)));
            }
            ws.close(1000, "");
            assert_eq!(ws.recv().code(), 1000);
        })
    });
    peers.collect::<Vec<_>>().into_iter().for_each(|peer| peer.join().unwrap());
    // A Close is answered while the file is still being written.
    let mut written = String::new();
    wait_until("all lines are written", || {
        written = fs::read_to_string(&log).unwrap();
        written.matches('\n').count() >= PEERS * LINES
    });
    let mut seen: Vec<(usize, usize)> = written
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let mut number = || words.next().unwrap().parse().unwrap();
            let seen = (number(), number());
            assert_eq!(words.next().map(str::len), Some(10_000));
            seen
        })
        .collect();
    seen.sort_unstable();
    let all = (0..PEERS).flat_map(|peer| (0..LINES).map(move |line| (peer, line)));
    assert!(seen.into_iter().eq(all));
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let run = Towline::connect(["file:missing", "null:"]).run();
    run.code(2).stderr_is("towline: file:missing: no such file or directory\n");
    Towline::connect(["file:.", "null:"]).run().code(2).stderr_has("file:.: is a directory");
    let run = Towline::connect(["-", "file:no/where"]).stdin("x\n").run();
    run.code(2).stderr_has("file:no/where: no such file or directory");
    Towline::connect(["file:"]).run().code(2).stderr_has("a path is missing");
}

#[test]
fn a_full_disk_is_an_error() {
    let run = Towline::connect(["-", "file:/dev/full"]).stdin("x\n").run();
    run.code(14).stderr_is("towline: file:/dev/full: no space left on device\n");
}

#[test]
fn special_files_are_waited_for() {
    let stdin = Towline::connect(["file:/dev/stdin", "exec:cat"]).stdin("through\n").run();
    stdin.code(0).stdout("through\n");

    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = Towline::connect([&format!("file:{}", fifo.display()), "echo:"]).spawn();
    File::options().write(true).open(&fifo).unwrap().write_all(b"piped\n").unwrap();
    reader.wait().code(0).stdout("piped\n");

    let writer = Towline::connect(["-", &format!("file:{}", fifo.display())]);
    let writer = writer.stdin("piped back\n").spawn();
    assert_eq!(fs::read_to_string(&fifo).unwrap(), "piped back\n");
    writer.wait().code(0);
}
