//! `unix:PATH` and `unix:@NAME`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Towline, wait_until};

#[test]
fn a_socket_is_served_connected_to_and_removed() {
    let (_dir, path) = path();
    let address = format!("unix:{}", path.display());
    let server = Towline::serve([&address, "echo:"]);
    assert_eq!(server.address(), address);
    Towline::connect([&address]).stdin("hello\n").run().code(0).stdout("hello\n");
    server.signal(Signal::TERM);
    server.wait().code(0);
    assert!(!path.exists());
}

#[test]
fn an_abstract_name_needs_no_file() {
    let address = format!("unix:@towline-test-{}", std::process::id());
    let server = Towline::serve([&address, "echo:"]);
    assert_eq!(server.address(), address);
    Towline::connect([&address]).stdin("hello\n").run().code(0).stdout("hello\n");
    Towline::new().args(["serve", &address, "echo:"]).run().code(4).stderr_has("cannot listen");
    drop(server);
    wait_until("the name is free", || Towline::connect([&address]).run().code == 4);
    let run = Towline::connect([&address]).run();
    run.code(4).stderr_has("connection refused").stderr_has("hint: nobody listens");
}

#[test]
fn a_stale_socket_is_replaced() {
    let (_dir, path) = path();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let address = format!("unix:{}", path.display());
    let run = Towline::connect([&address]).run();
    run.code(4).stderr_has("connection refused").stderr_has("has left the file behind");
    let _server = Towline::serve([&address, "echo:"]);
    Towline::connect([&address]).stdin("hello\n").run().code(0).stdout("hello\n");
}

#[test]
fn a_live_socket_is_left_alone() {
    let (_dir, path) = path();
    let owner = UnixListener::bind(&path).unwrap();
    let address = format!("unix:{}", path.display());
    let run = Towline::new().args(["serve", &address, "echo:"]).run();
    run.code(4).stderr_is(&format!(
        "towline: {address}: cannot listen: address already in use\n\
         hint: somebody is listening there\n"
    ));
    // The probe of the live socket is the first to arrive, and says nothing.
    assert_eq!(owner.accept().unwrap().0.read(&mut [0; 1]).unwrap(), 0);
    let peer = thread::spawn(move || {
        let (mut peer, _) = owner.accept().unwrap();
        let mut said = Vec::new();
        peer.read_to_end(&mut said).unwrap();
        peer.write_all(b"late reply\n").unwrap();
        said
    });
    Towline::connect([&address]).stdin("hello\n").run().code(0).stdout("late reply\n");
    assert_eq!(peer.join().unwrap(), b"hello\n");
}

#[test]
fn a_file_in_the_way_stays() {
    let (_dir, path) = path();
    fs::write(&path, "precious").unwrap();
    let address = format!("unix:{}", path.display());
    let run = Towline::new().args(["serve", &address, "echo:"]).run();
    run.code(4).stderr_has("hint: a file that is not a socket is in the way");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    Towline::connect([&address]).run().code(4).stderr_has("is not a socket");
}

#[test]
fn only_its_own_socket_is_removed() {
    let (_dir, path) = path();
    let address = format!("unix:{}", path.display());
    let server = Towline::serve([&address, "echo:"]);
    fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    server.signal(Signal::TERM);
    server.wait().code(0);
    assert!(path.exists());
}

#[test]
fn a_socket_that_is_not_there_is_said_to_be_so() {
    let (_dir, path) = path();
    let address = format!("unix:{}", path.display());
    Towline::connect([&address]).run().code(4).stderr_is(&format!(
        "towline: {address}: no such file or directory\n\
         hint: nobody has made this socket (yet)\n"
    ));
    let long = format!("unix:/{}", "x".repeat(108));
    Towline::connect([long]).run().code(2).stderr_has("109 bytes are too long");
    Towline::connect(["unix:"]).run().code(2).stderr_has("a path is missing");
}

fn path() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("socket");
    (dir, path)
}
