#[cfg(feature = "interop")]
mod openssh;

use proptest::prelude::*;

use super::*;

fn tcp(bind: Bind, port: u16) -> Listen {
    Listen::Tcp { bind, port }
}

fn to(host: &str, port: u16) -> Target {
    Target::Tcp { host: host.into(), port }
}

#[test]
fn every_form_of_openssh() {
    let host = |host: &str| Bind::Host(host.into());
    for (text, listen, target) in [
        ("80:db:5432", tcp(Bind::Loopback, 80), Some(to("db", 5432))),
        ("0:db:5432", tcp(Bind::Loopback, 0), Some(to("db", 5432))),
        ("*:80:db:5432", tcp(Bind::All, 80), Some(to("db", 5432))),
        (":80:db:5432", tcp(Bind::All, 80), Some(to("db", 5432))),
        ("[::1]:80:[fe80::1%eth0]:1", tcp(host("::1"), 80), Some(to("fe80::1%eth0", 1))),
        ("localhost:80:/run/x", tcp(host("localhost"), 80), Some(Target::Unix("/run/x".into()))),
        ("80:/run/x", tcp(Bind::Loopback, 80), Some(Target::Unix("/run/x".into()))),
        ("/run/x:db:1", Listen::Unix("/run/x".into()), Some(to("db", 1))),
        ("./a\\:b:/c", Listen::Unix("./a:b".into()), Some(Target::Unix("/c".into()))),
        ("\\ a/b:/c", Listen::Unix(" a/b".into()), Some(Target::Unix("/c".into()))),
        ("[/a:b]:/c", Listen::Unix("/a:b".into()), Some(Target::Unix("/c".into()))),
        ("1080", tcp(Bind::Loopback, 1080), None),
        ("*:1080", tcp(Bind::All, 1080), None),
        ("127.0.0.2:1080", tcp(host("127.0.0.2"), 1080), None),
        ("/run/socks", Listen::Unix("/run/socks".into()), None),
    ] {
        assert_eq!(text.parse(), Ok(Remote { listen, target }), "{text}");
        round_trip::<Remote>(text);
    }
    assert_eq!("[::1]:22".parse(), Ok(Stdio { target: to("::1", 22) }));
    assert_eq!("/run/x".parse(), Ok(Stdio { target: Target::Unix("/run/x".into()) }));
}

#[test]
fn what_is_wrong_is_named() {
    let local = |text: &str| text.parse::<Local>().unwrap_err();
    assert_eq!(local(""), "a forward is missing");
    assert!(local("8080").contains("does not say what to connect to"));
    assert_eq!(local("80:db"), "`db` lacks the port to connect to");
    assert_eq!(local("80:db:http"), "`http` is not a port (0 to 65535)");
    assert_eq!(local("65536:db:1"), "`65536` is not a port (0 to 65535)");
    assert_eq!(local("80:db:0"), "`db:0`: nobody can connect to port 0");
    assert_eq!(local("80::1"), "a host name is missing");
    assert_eq!(local("/x:db"), "`db` is not HOST:PORT or a path with a slash");
    assert!(local("80:fe80::1:22").contains("an IPv6 address needs brackets"));
    assert_eq!(local("[::1:80:a:1"), "`[::1:80:a:1` has no matching `]`");
    assert_eq!(local("[::1]80:a:1"), "a `]` must be followed by a colon");
    assert_eq!(local("80:a b:1"), "`a b` is not a host name");
    assert_eq!(
        "80:a:1".parse::<Dynamic>().unwrap_err(),
        "`a:1` is too much: the destination is up to the SOCKS client"
    );
    assert!("22".parse::<Stdio>().is_err());
}

proptest! {
    #[test]
    fn what_is_accepted_is_written_back(text in r"([a-z0-9.*/\\:\[\]-]|\[::1\]:|:80){0,12}") {
        round_trip::<Local>(&text);
        round_trip::<Remote>(&text);
        round_trip::<Dynamic>(&text);
        round_trip::<Stdio>(&text);
    }

    #[test]
    fn nothing_panics(text in any::<String>()) {
        round_trip::<Remote>(&text);
        round_trip::<Stdio>(&text);
    }
}

fn round_trip<T: FromStr + fmt::Display + fmt::Debug + PartialEq>(text: &str) {
    if let Ok(forward) = text.parse::<T>() {
        let written = forward.to_string();
        assert_eq!(written.parse().ok(), Some(forward), "{text:?} was written as {written:?}");
    }
}
