//! TLS with OpenSSL at the other end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tempfile::TempDir;

use crate::support::certs::Authority;
use crate::support::{Running, Towline, tcp_server};

/// `openssl s_server` or `s_client`; it is killed when this is dropped.
struct OpenSsl {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl OpenSsl {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Says a line.
    fn say(&mut self, line: &str) {
        // That it may have ended already is seen by what it answers.
        let _ = self.child.stdin.as_mut().unwrap().write_all(line.as_bytes());
    }

    /// The next line on stdout that begins like this.
    #[track_caller]
    fn line(&mut self, start: &str) -> String {
        let mut line = String::new();
        while !line.starts_with(start) {
            line.clear();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                panic!("openssl did not say {start:?}, but: {}", self.stderr());
            }
        }
        line
    }

    /// All of stderr, once it has ended.
    fn stderr(&mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In files: an authority, and what it has signed for a server and for a client.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::new("Mine");
        authority.write(dir.path().join("ca.pem"));
        authority.issue(&["localhost"]).write(dir.path().join("server"));
        authority.issue(&[]).write(dir.path().join("client"));
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Starts a server that answers every line backwards; it stops when the first is dropped.
    fn openssl_server(&self, flags: &[&str]) -> (OpenSsl, String) {
        let (cert, key) = (self.path("server/cert.pem"), self.path("server/key.pem"));
        let args = ["s_server", "-rev", "-accept", "127.0.0.1:0", "-cert", &cert, "-key", &key];
        let mut server = OpenSsl::start(&[&args[..], flags].concat());
        // `ACCEPT 127.0.0.1:45123`
        let line = server.line("ACCEPT ");
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        (server, format!("tls://localhost:{port}"))
    }

    fn towline_server(&self, flags: &[&str]) -> (Running, String) {
        let (cert, key) = (self.path("server/cert.pem"), self.path("server/key.pem"));
        let args = ["--cert", &cert, "--key", &key, "tls://127.0.0.1:0", "echo:", "-v"];
        let server = Towline::serve(args.iter().chain(flags));
        let at = format!("127.0.0.1:{}", server.port());
        (server, at)
    }

    fn openssl_client(&self, at: &str, flags: &[&str]) -> OpenSsl {
        let ca = self.path("ca.pem");
        let checks = ["-CAfile", &ca, "-verify_return_error", "-verify_hostname", "localhost"];
        let args = ["s_client", "-quiet", "-connect", at];
        OpenSsl::start(&[&args[..], &checks, flags].concat())
    }
}

#[test]
fn towline_speaks_to_openssl() {
    let files = Files::new();
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (_server, address) = files.openssl_server(&[flag]);
        Towline::connect(["-v", "--ca", &files.path("ca.pem"), &address])
            .stdin("hello\n")
            .run()
            .code(0)
            .stdout("olleh\n")
            .stderr_has(&format!("localhost: {version}, TLS_"));
    }
}

#[test]
fn openssl_speaks_to_towline() {
    let files = Files::new();
    let (_server, at) = files.towline_server(&[]);
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = files.openssl_client(&at, &[version]);
        client.say("hello\n");
        client.line("hello\n");
    }
}

#[test]
fn openssl_asks_towline_for_a_certificate() {
    let files = Files::new();
    let ca = files.path("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let (_server, address) = files.openssl_server(&[
            version,
            "-CAfile",
            &ca,
            "-Verify",
            "1",
            "-verify_return_error",
        ]);
        let (cert, key) = (files.path("client/cert.pem"), files.path("client/key.pem"));
        let login = ["--ca", &ca, "--client-cert", &cert, "--client-key", &key, &address];
        Towline::connect(login).stdin("hello\n").run().code(0).stdout("olleh\n");
        Towline::connect(["--ca", &ca, &address])
            .stdin("hello\n")
            .run()
            .code(5)
            .stdout("")
            .stderr_has("--client-cert FILE --client-key FILE");
    }
}

#[test]
fn towline_asks_openssl_for_a_certificate() {
    let files = Files::new();
    let (server, at) = files.towline_server(&["--client-ca", &files.path("ca.pem")]);
    let (cert, key) = (files.path("client/cert.pem"), files.path("client/key.pem"));
    let mut client = files.openssl_client(&at, &["-cert", &cert, "-key", &key]);
    client.say("hello\n");
    client.line("hello\n");

    let mut client = files.openssl_client(&at, &["-tls1_3"]);
    client.say("hello\n");
    assert!(client.stderr().contains("alert certificate required"));
    server.stderr_line(|line| line.contains("peer has shown no certificate"));
}

#[test]
fn openssl_tells_the_end_from_a_loss() {
    let files = Files::new();
    for lost in [false, true] {
        let behind = tcp_server(move |mut stream| {
            stream.write_all(b"hello\n").unwrap();
            if lost {
                set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
            }
        });
        let (cert, key) = (files.path("server/cert.pem"), files.path("server/key.pem"));
        let behind = format!("tcp://{}", behind.address());
        let args = ["--cert", &cert, "--key", &key, "tls://127.0.0.1:0", &behind];
        let server = Towline::serve(args);
        let mut client = files.openssl_client(&format!("127.0.0.1:{}", server.port()), &[]);
        let mut said = String::new();
        client.stdout.read_to_string(&mut said).unwrap();
        let well = client.child.wait().unwrap().success();
        assert_eq!(well, !lost, "{}", client.stderr());
        // A loss may overtake what was said before it.
        assert!(lost || said == "hello\n", "{said:?}");
    }
}
