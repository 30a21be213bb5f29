//! `USER:PASSWORD@` in front of a host.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Protocol;

/// What stays as it is in a user name and a password: the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A user name and a password. `{:#}` hides the password, for messages and logs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Login {
    /// Takes a percent-encoded login off the front of an authority.
    pub(crate) fn split(authority: &str) -> Result<(Option<Self>, &str), String> {
        let Some((login, host)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let decode = |text, what| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(String::from).map_err(|_| format!("the {what} is not UTF-8"))
        };
        let login =
            Self { user: decode(user, "user name")?, password: decode(password, "password")? };
        Ok((Some(login), host))
    }

    /// Takes `USER:PASSWORD` as it is, which a client of any protocol has to be able to say.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (user, password) = text.split_once(':').ok_or("a login is USER:PASSWORD")?;
        let login = Self { user: user.to_owned(), password: password.to_owned() };
        Protocol::Socks.check(&login).map(|()| login)
    }

    /// The credentials of HTTP basic authentication (RFC 7617), which cannot have a colon in the
    /// user name.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }

    /// Whether a peer said the same, in a time that does not tell how much of it was right.
    pub(crate) fn admits(&self, user: &[u8], password: &[u8]) -> bool {
        let same = |ours: &str, theirs: &[u8]| {
            aws_lc_rs::constant_time::verify_slices_are_equal(ours.as_bytes(), theirs).is_ok()
        };
        same(&self.user, user) & same(&self.password, password)
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", utf8_percent_encode(&self.user, RESERVED))?;
        match f.alternate() {
            true => f.write_str("***@"),
            false => write!(f, "{}@", utf8_percent_encode(&self.password, RESERVED)),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({self:#})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_decoded_and_written_back() {
        let (login, host) = Login::split("me%40work:a:b%2Ctcp%3A@proxy:1080").unwrap();
        let login = login.unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("me@work", "a:b,tcp:"));
        assert_eq!(host, "proxy:1080");
        assert_eq!(login.to_string(), "me%40work:a%3Ab%2Ctcp%3A@");
        assert_eq!(format!("{login:#}"), "me%40work:***@");
        assert_eq!(format!("{login:?}"), "Login(me%40work:***@)");
    }

    #[test]
    fn a_password_may_be_missing() {
        assert_eq!(Login::split("proxy:1080"), Ok((None, "proxy:1080")));
        let (login, _) = Login::split("me@proxy").unwrap();
        assert_eq!(login.unwrap().password, "");
        assert!(Login::split("%ff@proxy").is_err());
    }

    #[test]
    fn only_the_right_login_is_admitted() {
        let login = Login { user: "me".into(), password: "secret".into() };
        assert!(login.admits(b"me", b"secret"));
        assert!(!login.admits(b"me", b"secre"));
        assert!(!login.admits(b"you", b"secret"));
        assert_eq!(login.basic(), "Basic bWU6c2VjcmV0");
    }
}
