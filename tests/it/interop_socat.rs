//! socat at the other end of TCP, Unix sockets, TLS, and around us on a pseudo terminal.

use std::fs;

use tempfile::TempDir;

use crate::support::certs::Authority;
use crate::support::{Running, Towline, noise, peers, wait_until};

/// `socat ARGS`, which is patient after one direction has ended.
fn socat<'a>(args: impl IntoIterator<Item = &'a str>) -> Towline {
    peers::program("socat").args(["-t", "30"]).args(args)
}

/// A listening socat, and `host:port` or the path of its socket.
fn socat_server(listen: &str, target: &str) -> (Running, String) {
    let server = socat(["-dd", listen, target]).spawn();
    let line = server.stderr_line(|line| line.contains("listening on AF="));
    let at = line.rsplit(' ').next().unwrap().trim_matches('"').to_owned();
    (server, at)
}

#[test]
fn socat_is_a_client_of_tcp() {
    let server = Towline::serve(["tcp://127.0.0.1:0", "exec:cat"]);
    let bytes = noise(50 << 20);
    let client = socat(["-", &format!("TCP:127.0.0.1:{}", server.port())]);
    client.stdin(bytes.clone()).run().code(0).stdout_bytes(bytes);
}

#[test]
fn socat_is_a_server_of_tcp() {
    let (_server, at) = socat_server("TCP-LISTEN:0,bind=127.0.0.1", "EXEC:cat");
    let bytes = noise(50 << 20);
    let run = Towline::connect([format!("tcp://{at}")]).stdin(bytes.clone()).run();
    run.code(0).stdout_bytes(bytes);
}

#[test]
fn socat_is_a_client_of_unix_sockets() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket").display().to_string();
    // The name of the directory is as unique among the abstract names.
    let (file, name) = (format!("unix:{path}"), format!("unix:@{path}"));
    let _server = Towline::serve([&*file, &name, "sh:cat; sleep 0.4; echo late"]);
    for peer in [format!("UNIX-CONNECT:{path}"), format!("ABSTRACT-CONNECT:{path}")] {
        socat(["-", &peer]).stdin("hello\n").run().code(0).stdout("hello\nlate\n");
    }
}

#[test]
fn socat_hears_our_end_and_we_hear_its_late_reply() {
    let late = "SYSTEM:cat; sleep 0.4; echo late";
    let (_server, at) = socat_server("TCP-LISTEN:0,bind=127.0.0.1", late);
    let run = Towline::connect([format!("tcp://{at}")]).stdin("hello\n").run();
    run.code(0).stdout("hello\nlate\n");
    let home = TempDir::new().unwrap();
    let listen = format!("UNIX-LISTEN:{}", home.path().join("socket").display());
    let (_server, path) = socat_server(&listen, late);
    let run = Towline::connect([format!("unix:{path}")]).stdin("hello\n").run();
    run.code(0).stdout("hello\nlate\n");
}

#[test]
fn socat_hears_our_end_and_goes_on() {
    let home = TempDir::new().unwrap();
    let heard = home.path().join("heard");
    let child = format!("sh:echo first; exec >&-; cat >'{}'", heard.display());
    let server = Towline::serve(["tcp://127.0.0.1:0", &child]);
    let client = socat(["-dd", "-", &format!("TCP:127.0.0.1:{}", server.port())]);
    let mut client = client.stdin_open().spawn();
    client.read_until("first\n");
    client.stderr_line(|line| line.contains("socket 2 (fd") && line.contains("is at EOF"));
    client.write("and on\n");
    client.close_stdin();
    client.wait().code(0);
    wait_until("all is heard", || fs::read(&heard).is_ok_and(|heard| heard == b"and on\n"));
}

#[test]
fn socat_speaks_tls_with_us() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new("Mine");
    let ca = authority.write(dir.path().join("ca.pem")).display().to_string();
    let (cert, key) = authority.issue(&["localhost"]).write(dir.path());
    let (cert, key) = (cert.display().to_string(), key.display().to_string());

    let server = ["--cert", &cert, "--key", &key, "tls://127.0.0.1:0", "echo:"];
    let server = Towline::serve(server);
    let peer = format!("OPENSSL:localhost:{},pf=ip4,cafile={ca}", server.port());
    let mut client = socat(["-", &peer]).stdin_open().spawn();
    client.write("hello\n");
    client.read_until("hello\n");
    client.close_stdin();
    client.wait().code(0);

    let listen = format!("OPENSSL-LISTEN:0,bind=127.0.0.1,verify=0,cert={cert},key={key}");
    let (_server, at) = socat_server(&listen, "EXEC:cat");
    let address = format!("tls://localhost:{}", at.rsplit(':').next().unwrap());
    let run = Towline::connect(["--ca", &ca, &address]).stdin("hello\n").run();
    run.code(0).stdout("hello\n");
}

#[test]
fn socat_types_on_our_terminal() {
    let server = Towline::serve(["ws://127.0.0.1:0", "echo:you said "]);
    let console = format!(
        "EXEC:{} connect {},pty,setsid,ctty,echo=0",
        env!("CARGO_BIN_EXE_towline"),
        server.address().replace(':', "\\:")
    );
    let mut person = socat(["-", &console]).env("TERM", "xterm").stdin_open().spawn();
    person.read_until("> ");
    person.write("hello\r");
    person.read_until("< you said hello");
    person.write("\x04");
    person.close_stdin();
    person.wait().code(0);
}
