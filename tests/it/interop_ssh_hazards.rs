//! How far OpenSSH's programs may go ahead of ours, and what becomes of those that listen less than
//! they talk.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::ssh::{Server, line};
use crate::support::sshd::Sshd;
use crate::support::{DEADLINE, noise};

/// `ssh` into a server of ours.
fn ssh(server: &Server) -> Command {
    let [.., identity, _, known] = &server.flags(1)[..] else { panic!("the flags are others") };
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-T", "-o", "BatchMode=yes", "-i", identity]);
    ssh.args(["-o", &format!("UserKnownHostsFile={known}"), "-p", &server.port().to_string()]);
    ssh.arg("me@127.0.0.1");
    ssh
}

#[test]
fn ssh_that_hears_less_than_it_says_has_to_wait_and_then_goes_on() {
    let server = Server::new(&[line("", 1)], &["echo:"]);
    let pair = || {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(DEADLINE)).unwrap();
        (near, OwnedFd::from(far))
    };
    let ((mut says, stdin), (mut hears, stdout)) = (pair(), pair());
    let ssh = ssh(&server).stdin(stdin).stdout(stdout).stderr(Stdio::null()).spawn();
    says.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // More than may wait in the server in any case.
    let bytes = noise(100 << 20);
    let mut said = 0;
    while let Ok(len) = says.write(&bytes[said..]) {
        said += len;
        assert!(said < bytes.len(), "all of it was taken, and nothing heard");
    }
    assert!(server.run.memory("VmHWM") < 96 << 10, "{} KiB", server.run.memory("VmHWM"));
    // From the moment it listens, everything goes on.
    says.set_write_timeout(Some(DEADLINE)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            says.write_all(&bytes[said..]).unwrap();
            drop(says);
        });
        let mut back = Vec::new();
        hears.read_to_end(&mut back).unwrap();
        assert!(back == bytes, "{} bytes", back.len());
    });
    assert!(ssh.unwrap().wait().unwrap().success());
}

#[test]
fn openssh_may_send_4_mib_ahead_of_either_end() {
    const WINDOW: &str = "4194304";
    let sshd = Sshd::with(|_| "LogLevel DEBUG".to_owned());
    sshd.connect(&[&sshd.then("exec:true")]).run().code(0);
    let opened = format!("win {WINDOW}");
    assert!(sshd.log().contains(&opened), "{}", sshd.log());

    let server = Server::new(&[line("", 1)], &["echo:"]);
    let said = ssh(&server).arg("-vv").stdin(Stdio::null()).output().unwrap().stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(&format!("rwindow {WINDOW}")), "{said}");
}
