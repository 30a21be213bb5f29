use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::{Path, PathBuf};

use clap::Parser;
use towline::cli::{Cli, examples};
use towline::endpoint::Endpoint;
use towline::error::Kind;

use crate::support::{DEADLINE, Running, Towline, Ws, keys, ssh};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// The command lines of all ```sh blocks, without comments.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(path()).unwrap().replace("\\\n", " ");
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).filter(|line| !line.is_empty());
    lines.filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The one command line that contains `needle`.
#[track_caller]
fn command(needle: &str) -> String {
    let mut found: Vec<String> = commands().into_iter().filter(|it| it.contains(needle)).collect();
    assert_eq!(found.len(), 1, "README.md has not one command with {needle:?}: {found:#?}");
    found.remove(0)
}

/// The towline command lines within one line of shell.
fn invocations(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("unbalanced quotes: {line}"));
    let mut found = Vec::new();
    for part in words.split(|word| matches!(word.as_str(), "|" | "&&" | "||" | "&" | ";")) {
        let redirects = |word: &String| word.trim_start_matches('2').starts_with(['<', '>']);
        let part: Vec<String> = part.iter().filter(|word| !redirects(word)).cloned().collect();
        match part.first().map(String::as_str) {
            Some("towline") => found.push(part),
            Some("cargo") => {
                let args = part.split(|word| word == "--").nth(1).unwrap_or_default();
                if !args.is_empty() {
                    found.push([&["towline".to_owned()], args].concat());
                }
            }
            // Each of its arguments takes the place of {}.
            Some("parallel") => {
                let command = part.iter().skip_while(|word| *word != "towline");
                let command = command.take_while(|word| *word != ":::");
                let filled = command.map(|word| match word.as_str() {
                    "$start" => "2026-11-25T12:00:00Z".to_owned(),
                    _ => word.replace("{}", "1"),
                });
                found.push(filled.collect());
            }
            // As in `ssh -o ProxyCommand='towline ...'`.
            _ => {
                let nested =
                    part.iter().filter_map(|word| word.find("towline ").map(|at| &word[at..]));
                found.extend(nested.flat_map(invocations));
            }
        }
    }
    found
}

#[track_caller]
fn assert_parse<'a>(lines: impl IntoIterator<Item = &'a str>) {
    let mut wrong = Vec::new();
    for line in lines {
        let found = invocations(line);
        if found.is_empty() && line.contains("towline ") {
            wrong.push(format!("not understood: {line}"));
        }
        let errors = found.iter().filter_map(|words| Cli::try_parse_from(words).err());
        wrong.extend(errors.map(|error| format!("{line}\n{error}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_parses() {
    let commands = commands();
    assert!(commands.iter().filter(|line| !invocations(line).is_empty()).count() > 20);
    assert_parse(commands.iter().map(String::as_str));
}

#[test]
fn every_example_of_the_help_parses() {
    assert_parse(
        [examples::CONNECT, examples::SERVE, examples::BENCH].concat().iter().map(|it| it.line),
    );
}

/// The server of the first command, on a port of its own.
fn server() -> Running {
    let line = command("cargo run --release -- serve");
    let args = invocations(&line).remove(0);
    Towline::serve(args[2..].iter().map(|arg| arg.replace(":8010", ":0")))
}

/// A command of the README, towards that server.
#[track_caller]
fn against(server: &Running, needle: &str) -> String {
    command(needle).replace("8010", &server.port().to_string())
}

/// A server of the README, on a port of its own.
#[track_caller]
fn spawn(needle: &str, port: &str) -> Running {
    let line = command(needle);
    let args = invocations(&line).remove(0);
    Towline::serve(args[2..].iter().map(|arg| arg.replace(port, "0")))
}

/// What a ```console block shows is what happens, word for word.
#[test]
fn the_output_that_is_shown_is_real() {
    let readme = fs::read_to_string(path()).unwrap();
    let server = server();
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let (line, output) = block.split_once('\n').unwrap();
        let line = line.strip_prefix("$ ").unwrap().replace("8010", &server.port().to_string());
        Towline::shell(&format!("exec 2>&1; {line}")).run().code(0).stdout(output);
    }
}

#[test]
fn the_answer_is_waited_for() {
    let server = server();
    let run = Towline::shell(&against(&server, "echo hello | towline connect :8010")).run();
    run.code(0).stdout("Server received from client: hello\n").stderr_is_empty();
}

#[test]
fn a_service_is_checked() {
    let server = server();
    Towline::shell(&against(&server, "-s hello --within")).run().code(0).stderr_is_empty();
}

#[test]
fn a_service_is_waited_for() {
    let server = server();
    let run = Towline::shell(&against(&server, "--wait-ready 60s")).run();
    run.code(0).stdout_has("ready\n");
}

#[test]
fn types_are_kept() {
    let server = server();
    let run = Towline::shell(&against(&server, "--count 1 --frame json")).run();
    run.code(0).stdout_has(r#""type":"text","data":"Server received from client: hi""#);
}

#[test]
fn a_session_is_recorded_and_played_again() {
    let server = server();
    let record = against(&server, "--log session.ndjson");
    let replay = against(&server, "--replay session.ndjson");
    let run = Towline::shell(&format!("{record} >first && {replay} && cat session.ndjson")).run();
    run.code(0).stdout_has("Server received from client: one\n");
    run.stdout_has("Server received from client: two\n");
    run.stdout_has(r#""dir":"out","type":"text","data":"one""#);
}

#[test]
fn tcp_clients_reach_a_websocket_server() {
    let server = server();
    let line = against(&server, "serve tcp://127.0.0.1:7000");
    let args = invocations(&line).remove(0);
    let bridge = Towline::serve(args[2..].iter().map(|arg| arg.replace(":7000", ":0")));
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, bridge.port())).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"hi\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "Server received from client: hi\n");
}

#[test]
fn a_program_becomes_a_server() {
    let server = spawn("you said", "8011");
    let mut client = Ws::connect(&server.address());
    client.text("this");
    assert_eq!(client.recv().text(), "you said this");
}

#[test]
fn peers_of_a_room_hear_each_other() {
    let server = spawn("8012 hub:chat", "8012");
    let mut peers = [Ws::connect(&server.address()), Ws::connect(&server.address())];
    // A peer that answers a ping has joined.
    for peer in &mut peers {
        peer.frame(0x89, "joined?");
        assert_eq!(peer.recv().payload, b"joined?");
    }
    peers[0].text("hello");
    assert_eq!(peers[1].recv().text(), "hello");
}

#[test]
fn a_websocket_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let serve = Towline::shell(&format!("exec {}", command("serve unix:echo.sock")));
    let serve = serve.dir(dir.path()).spawn();
    serve.ready();
    let run = Towline::shell(&command("connect unix:echo.sock")).dir(dir.path()).run();
    run.code(0).stdout("hello\n").stderr_is_empty();
}

#[test]
fn a_websocket_through_a_socks_proxy() {
    let server = server();
    let proxy = spawn("serve socks5://", "1080");
    let line = against(&server, "connect socks5://127.0.0.1:1080");
    let run = Towline::shell(&line.replace("1080", &proxy.port().to_string())).run();
    run.code(0).stdout("Server received from client: hello\n").stderr_is_empty();
}

#[test]
fn the_terminal_as_a_server_of_three() {
    let line = command("--name-from query:name");
    let dir = tempfile::tempdir().unwrap();
    let clients = dir.path().join("clients");
    let options = r#"restrict,environment="TOWLINE_NAME=c1""#;
    fs::write(&clients, ssh::line(options, 1)).unwrap();
    let here = |arg: &String| match arg.as_str() {
        "clients" => clients.display().to_string(),
        // A test is seen by nobody else.
        arg => arg.replace("0.0.0.0:2222", "127.0.0.1:0").replace(":8010", ":0"),
    };
    let args = invocations(&line).remove(0);
    let args = args[1..].iter().map(here).chain(["--host-key".to_owned()]);
    let serve = Towline::new().args(args).arg(keys::write(ssh::HOST, dir.path()));
    let mut s = serve.stdin_open().spawn();
    let [port, address] = &s.listeners(2)[..] else { panic!("two listeners") };
    let port = port.rsplit(':').next().unwrap().parse().unwrap();
    let flags = ssh::flags(dir.path(), port, 1);
    let c1 = Towline::connect(["-", &format!("ssh://me@127.0.0.1:{port}")]).args(flags);
    let mut c1 = c1.stdin_open().spawn();
    s.stderr_line(|line| line.contains("c1 joined"));
    let mut c3 = Ws::connect(&format!("{address}/?name=c3"));
    s.stderr_line(|line| line.contains("c3 joined"));
    c1.write("from one\n");
    s.read_until("c1: from one\n");
    s.write("to all\n");
    c1.read_until("to all\n");
    assert_eq!(c3.recv().text(), "to all");
    s.write("@c3 to three\n");
    assert_eq!(c3.recv().text(), "to three");
}

#[test]
fn the_mock_answers_and_fails() {
    let server = spawn("--close-after 5:4001:quota", "8010");
    let mut client = Ws::connect(&server.address());
    for _ in 0..5 {
        client.text("?");
        assert_eq!(client.recv().text(), r#"{"ok":true}"#);
    }
    let close = client.recv();
    assert_eq!((close.code(), close.reason()), (4001, "quota"));
}

/// Replaces the rows under a table's head by what the code says; `UPDATE=1` writes the file.
#[track_caller]
fn table_is(head: &str, rows: impl IntoIterator<Item = String>) {
    let readme = fs::read_to_string(path()).unwrap();
    let (before, rest) = readme.split_once(head).expect("README.md has this table");
    let (rule, old) = rest[1..].split_once('\n').unwrap();
    let old_rows = old.split_inclusive('\n').take_while(|line| line.starts_with('|'));
    let after = &old[old_rows.map(str::len).sum::<usize>()..];
    let rows: String = rows.into_iter().map(|row| row + "\n").collect();
    let fresh = format!("{before}{head}\n{rule}\n{rows}{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(), &fresh).unwrap();
    }
    let readme = fs::read_to_string(path()).unwrap();
    assert!(
        readme == fresh,
        "README.md: stale table; `UPDATE=1 cargo test generated` writes\n{rows}"
    );
}

// One test for both tables, since an update of each rewrites the file.
#[test]
fn generated_tables_are_fresh() {
    table_is(
        "| code | meaning |",
        Kind::TABLE.iter().map(|(code, meaning)| format!("| {code} | {meaning} |")),
    );
    table_is(
        "| address | listens | what it is |",
        Endpoint::SCHEMES.iter().map(|scheme| {
            let listens = if scheme.listens { "yes" } else { "" };
            let usage = scheme.usage.replace(", ", "`, `");
            format!("| `{usage}` | {listens} | {} |", scheme.help)
        }),
    );
}
