#[cfg(feature = "interop")]
mod openssh;

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use russh::keys::ssh_key::certificate::{Builder, CertType};

use super::*;
use crate::ssh::testing::{SHORT_RSA, certificate, key, line};

fn keys(text: &str) -> AuthorizedKeys {
    let keys = AuthorizedKeys::parse(Path::new("keys"), text);
    assert!(keys.complaints().is_empty(), "{:?}", keys.complaints());
    keys
}

fn ann() -> Visitor<'static> {
    Visitor {
        user: "ann",
        from: IpAddr::from([10, 0, 0, 1]),
        now: UNIX_EPOCH + Duration::from_secs(1500),
    }
}

fn login(text: &str, seed: u8) -> Result<Grant, String> {
    keys(text).lookup(Credential::Key(&key(seed)), ann()).map_err(|denied| denied.to_string())
}

fn show(text: &str, cert: &Certificate) -> Result<Grant, String> {
    let result = keys(text).lookup(Credential::Certificate(cert), ann());
    result.map_err(|denied| denied.to_string())
}

#[test]
fn options_with_spaces_quotes_and_comments() {
    let text = format!(
        "# nobody\n\n  {}  a comment # more\n\
         environment=\"TOWLINE_NAME=c 2\",command=\"say \\\"a, b\\\" #1\",restrict\t{}\r\n",
        line(1),
        line(2)
    );
    let grant = login(&text, 1).unwrap();
    assert_eq!((grant.place.line, grant.pty, grant.port_forwarding), (3, true, true));
    assert_eq!((grant.name, grant.command, grant.expires), (None, None, None));
    let grant = login(&text, 2).unwrap();
    assert_eq!(
        (grant.name.as_deref(), grant.command.as_deref()),
        (Some("c 2"), Some("say \"a, b\" #1"))
    );
    assert!(!grant.pty && !grant.may_open("a", 1) && !grant.may_listen("a", 1));
    assert_eq!(login(&text, 3).unwrap_err(), "the key is not listed");
}

#[test]
fn forwards_that_are_permitted() {
    let text = format!(
        "restrict,port-forwarding,permitopen=\"db:5432\",permitopen=\"[::1]:*\",permitlisten=\"8080\" {}",
        line(1)
    );
    let grant = login(&text, 1).unwrap();
    assert!(grant.may_open("DB", 5432) && grant.may_open("::1", 1) && !grant.may_open("db", 1));
    assert!(grant.may_listen("localhost", 8080) && !grant.may_listen("localhost", 0));
    let grant = login(&text.replace(",port-forwarding", ""), 1).unwrap();
    assert!(!grant.may_open("db", 5432) && !grant.may_listen("localhost", 8080));
}

#[test]
fn from_and_until() {
    let text = |options: &str| format!("{options} {}", line(1));
    assert!(login(&text("from=\"10.0.0.0/8,!10.0.0.2\""), 1).is_ok());
    assert_eq!(
        login(&text("from=\"10.0.0.0/8,!10.0.0.1\""), 1).unwrap_err(),
        "keys:1: it may not come from 10.0.0.1"
    );
    let until = |time: &str| login(&text(&format!("expiry-time=\"{time}\"")), 1);
    assert_eq!(until("19700101002459Z").unwrap_err(), "keys:1: it has expired");
    let expires = until("19700101002501Z").unwrap().expires;
    assert_eq!(expires, Some(UNIX_EPOCH + Duration::from_secs(1501)));
}

#[test]
fn the_first_line_that_lets_in_decides() {
    let text = format!(
        "from=\"192.168.*\" {0}\nenvironment=\"TOWLINE_NAME=b\" {0}\nenvironment=\"TOWLINE_NAME=c\" {0}",
        line(1)
    );
    assert_eq!(login(&text, 1).unwrap().name.as_deref(), Some("b"));
}

#[test]
fn a_bad_line_is_said_and_is_no_line() {
    let text = format!(
        "unknown-option {0}\n{0}x\nno-pty\nssh-ed25519\n\"\nno-pty,permitopen=\"x\" {0}\n{SHORT_RSA}\n{1}",
        line(1),
        line(2)
    );
    let keys = AuthorizedKeys::parse(Path::new("keys"), &text);
    assert_eq!((keys.len(), keys.complaints().len()), (1, 7), "{:?}", keys.complaints());
    assert_eq!(keys.complaints()[0], "keys:1: unknown-option: it is unknown; the line is skipped");
    let short = "keys:7: an RSA key of 1024 bits is too short; 2048 are the least";
    assert!(keys.complaints()[6].starts_with(short), "{:?}", keys.complaints());
    assert!(keys.lookup(Credential::Key(&key(1)), ann()).is_err());
    assert!(keys.lookup(Credential::Key(&key(2)), ann()).is_ok());
}

#[test]
fn a_certificate_by_an_authority_of_the_file() {
    let text = format!("cert-authority {}", line(9));
    let cert = |names: &[&str], more: fn(&mut Builder)| certificate(CertType::User, names, more);
    let grant = show(&text, &cert(&["ann"], |_| ())).unwrap();
    assert!(!grant.pty && !grant.port_forwarding, "it lacks the extensions");
    assert_eq!(grant.expires, Some(UNIX_EPOCH + Duration::from_secs(2000)));
    let full = cert(&["bob", "ann"], |it| {
        it.extension("permit-pty", "").unwrap().extension("permit-port-forwarding", "").unwrap();
        it.critical_option("force-command", "say").unwrap();
        it.critical_option("source-address", "10.0.0.0/8").unwrap();
    });
    let grant = show(&text, &full).unwrap();
    assert!(grant.pty && grant.port_forwarding && grant.command.as_deref() == Some("say"));
    let grant = show(&format!("cert-authority,restrict {}", line(9)), &full).unwrap();
    assert!(!grant.pty && !grant.port_forwarding, "the line takes it away");
}

#[test]
fn certificates_that_are_refused() {
    let text = format!("cert-authority {}", line(9));
    let cert = |names: &[&str], more: fn(&mut Builder)| certificate(CertType::User, names, more);
    let refused = |cert: &Certificate| show(&text, cert).unwrap_err();
    assert_eq!(refused(&cert(&["bob"], |_| ())), "keys:1: the certificate is for bob");
    let all = |it: &mut Builder| {
        it.all_principals_valid().unwrap();
    };
    assert_eq!(refused(&cert(&[], all)), "keys:1: the certificate names no user");
    let elsewhere = |it: &mut Builder| {
        it.critical_option("source-address", "192.168.0.0/16,127.0.0.1").unwrap();
    };
    assert_eq!(
        refused(&cert(&["ann"], elsewhere)),
        "keys:1: the certificate may not come from 10.0.0.1"
    );
    let odd = |it: &mut Builder| {
        it.critical_option("verify-required", "").unwrap();
    };
    assert_eq!(
        refused(&cert(&["ann"], odd)),
        "keys:1: the certificate has the unknown critical option verify-required"
    );
    let host = certificate(CertType::Host, &["ann"], |_| ());
    assert_eq!(refused(&host), "keys:1: the certificate is not a user certificate");
    let says = |it: &mut Builder| {
        it.critical_option("force-command", "say").unwrap();
    };
    let other = format!("cert-authority,command=\"other\" {}", line(9));
    assert!(show(&other, &cert(&["ann"], says)).unwrap_err().contains("different commands"));
    let plain = cert(&["ann"], |_| ());
    assert_eq!(show(&line(9), &plain).unwrap_err(), "the key is not listed");
    assert_eq!(login(&text, 9).unwrap_err(), "the key is not listed", "an authority is no user");
    let mut bytes = plain.to_bytes().unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let forged = Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(refused(&forged), "keys:1: the signature of the certificate is wrong");
}

#[test]
fn principals_stand_for_the_user() {
    let text = format!("cert-authority,principals=\"ops,dev\" {}", line(9));
    let cert = |name: &str| certificate(CertType::User, &[name], |_| ());
    assert!(show(&text, &cert("dev")).is_ok());
    assert!(show(&text, &cert("ann")).is_err());
}

#[test]
fn an_authority_for_all_users() {
    let cert = certificate(CertType::User, &["ann"], |_| ());
    let login = |user, seed| {
        keys(&line(seed)).lookup_authority(&cert, Visitor { user, ..ann() }).map(|_| ())
    };
    assert_eq!(login("ann", 9), Ok(()));
    assert_eq!(login("bob", 9).unwrap_err().to_string(), "keys:1: the certificate is for ann");
    assert_eq!(login("ann", 8).unwrap_err().to_string(), "the authority is not trusted");
}

#[test]
fn a_user_is_a_file_and_nothing_else() {
    let file = |user| file_of(Path::new("/keys"), user);
    assert_eq!(file("ann"), Some("/keys/ann".into()));
    for user in ["", ".", "..", "../ann", "/etc/passwd", "a/b", ".hidden", "a\0", "a\n"] {
        assert_eq!(file(user), None, "{user:?}");
    }
}

#[cfg(unix)]
#[test]
fn files_and_folders_that_others_can_write_are_refused() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    let chmod =
        |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let read = || AuthorizedKeys::read(&file).map(|keys| keys.len());
    assert!(read().unwrap_err().what().ends_with("no such file or directory"));
    fs::write(&file, line(1)).unwrap();
    assert_eq!(read().unwrap(), 1);
    chmod(&file, 0o664);
    assert!(read().unwrap_err().what().ends_with("others can write the file"));
    chmod(&file, 0o600);
    chmod(dir.path(), 0o770);
    assert!(read().unwrap_err().what().ends_with("others can write its folder"));
    chmod(dir.path(), 0o700);
    assert_eq!(read().unwrap(), 1);
}

proptest! {
    #[test]
    fn nothing_panics(text in any::<String>(), options in "[ -~]{0,20}") {
        AuthorizedKeys::parse(Path::new("keys"), &text);
        AuthorizedKeys::parse(Path::new("keys"), &format!("{options} {}", line(1)));
    }
}
