//! Programs that nobody here wrote; `tests/run --install` installs them.

use std::env;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};

use super::{ClosedPort, Running, Towline, wait_until};

/// A program of the system, daemons included.
#[track_caller]
pub(crate) fn program(name: &str) -> Towline {
    Towline::program(path(name))
}

/// Where a program of the system is.
#[track_caller]
pub(crate) fn path(name: &str) -> PathBuf {
    // Daemons are not in everyone's path.
    let path = env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = env::split_paths(&path).chain(daemons).map(|dir| dir.join(name));
    found.into_iter().find(|file| file.is_file()).unwrap_or_else(|| missing(name))
}

/// A script of `tests/peers`, run by the Python that has the test packages.
#[track_caller]
pub(crate) fn python(script: &str) -> Towline {
    Towline::program(installed("venv/bin/python")).arg(source(script))
}

/// A script of `tests/peers`, run by Node.js with the test packages.
#[track_caller]
pub(crate) fn node(script: &str) -> Towline {
    program("node").env("NODE_PATH", installed("node/node_modules")).arg(source(script))
}

/// What `tests/run` has put into its own folder, by default `target/peers`.
#[track_caller]
pub(crate) fn installed(file: &str) -> PathBuf {
    let ours = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers");
    let folder = env::var_os("TOWLINE_PEERS").map_or_else(ours, PathBuf::from);
    let path = folder.join(file);
    if path.exists() { path } else { missing(&path.display().to_string()) }
}

/// A daemon that listens on a port it is told, as most can do nothing else. Waits until it does.
#[track_caller]
pub(crate) fn daemon(port: &ClosedPort, towline: Towline) -> Running {
    let mut running = towline.spawn();
    wait_until("the daemon listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port.port)).is_ok() || !running.runs()
    });
    if !running.runs() {
        panic!("the daemon has ended\n{}", running.wait());
    }
    running
}

fn source(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script)
}

#[track_caller]
fn missing(name: &str) -> ! {
    panic!("the test peer {name} is missing: `tests/run --install` installs it")
}
