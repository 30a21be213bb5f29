//! Learning a host's key.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use aws_lc_rs::rand;
use russh::keys::PublicKey;

use super::entry::Names;
use super::name;
use crate::error::{Error, Kind, Result, plain};

/// Adds a line to a file, which is made if need be, with its folder, for us alone.
/// `hashed` hides the name from who steals the file.
pub fn append(file: &Path, host: &str, port: u16, key: &PublicKey, hashed: bool) -> Result<()> {
    let failed = |why: &str| Error::new(Kind::Local, format!("{}: {why}", file.display()));
    let is_plain = |c: char| {
        !c.is_whitespace()
            && !c.is_control()
            && !matches!(c, ',' | '*' | '?' | '!' | '|' | '@' | '#')
    };
    if host.is_empty() || !host.chars().all(is_plain) {
        return Err(failed(&format!("{host:?} is not a name that can be written there")));
    }
    let name = name(host, port);
    let names = match hashed {
        true => {
            let mut salt = [0; 20];
            rand::fill(&mut salt).map_err(|_| failed("no random numbers"))?;
            Names::hashed(&name, salt)
        }
        false => name,
    };
    let key = PublicKey::new(key.key_data().clone(), "").to_openssh();
    let key = key.map_err(|error| failed(&error.to_string()))?;
    write(file, &format!("{names} {}\n", key.trim_end())).map_err(|error| failed(&plain(&error)))
}

/// One write, so that lines of two processes at once do not mix.
fn write(path: &Path, line: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty() && !it.exists()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let line = match ends_in_newline(&mut file)? {
        true => line.to_owned(),
        false => format!("\n{line}"),
    };
    file.write_all(line.as_bytes())
}

fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::{KnownHosts, Verdict};
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a comment";

    #[test]
    fn what_is_learnt_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".ssh/known_hosts");
        let key = PublicKey::from_openssh(KEY).unwrap();
        append(&file, "Box", 22, &key, false).unwrap();
        append(&file, "::1", 2222, &key, false).unwrap();
        append(&file, "hidden", 2222, &key, true).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("box ssh-ed25519 AAAA"), "{text}");
        assert!(text.contains("\n[::1]:2222 ssh-ed25519 AAAA"), "{text}");
        assert!(!text.contains("hidden") && !text.contains("comment"), "{text}");
        let known = KnownHosts::read([&file]).unwrap();
        for (host, port) in [("box", 22), ("::1", 2222), ("hidden", 2222)] {
            assert_eq!(known.lookup(host, port, &key), Verdict::Known, "{host}");
        }
        assert_eq!(known.lookup("hidden", 22, &key), Verdict::Unknown);
    }

    #[test]
    fn a_line_without_its_end_is_ended_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        fs::write(&file, format!("a {KEY}")).unwrap();
        let key = PublicKey::from_openssh(KEY).unwrap();
        append(&file, "b", 22, &key, false).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
        assert_eq!(KnownHosts::read([&file]).unwrap().lookup("b", 22, &key), Verdict::Known);
    }

    #[test]
    fn a_name_cannot_forge_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let key = PublicKey::from_openssh(KEY).unwrap();
        for host in ["", "*", "a,b", "a b", "a\nb", "@revoked", "|1|a|b", "#a", "!a"] {
            assert!(append(&file, host, 22, &key, false).is_err(), "{host:?}");
        }
        assert!(!file.exists());
    }
}
