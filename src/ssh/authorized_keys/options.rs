//! The options before a key.

use std::time::SystemTime;

use time::macros::offset;
use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

use super::addresses::Addresses;
use super::permit::Permit;

/// What a line says of its key.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) is_authority: bool,
    pub(super) verify_required: bool,
    pub(super) principals: Option<Vec<String>>,
    pub(super) from: Option<Addresses>,
    pub(super) expires: Option<SystemTime>,
    pub(super) name: Option<String>,
    pub(super) command: Option<String>,
    pub(super) pty: bool,
    pub(super) port_forwarding: bool,
    pub(super) open: Option<Vec<Permit>>,
    pub(super) listen: Option<Vec<Permit>>,
}

/// Cuts a line after its options: at the first space outside quotes.
pub(super) fn split(line: &str) -> Result<(&str, &str), String> {
    let mut quoted = false;
    let mut before = None;
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != Some('\\') => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok((&line[..at], line[at..].trim_start())),
            _ => {}
        }
        before = Some(c);
    }
    Err(if quoted { "a quote is not closed" } else { "it has no key" }.into())
}

impl Options {
    /// Parses what stands before a key, which may be nothing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self {
            is_authority: false,
            verify_required: false,
            principals: None,
            from: None,
            expires: None,
            name: None,
            command: None,
            pty: true,
            port_forwarding: true,
            open: None,
            listen: None,
        };
        let mut rest = text;
        while !rest.is_empty() {
            let (name, value, after) = next(rest)?;
            let name = name.to_ascii_lowercase();
            options.set(&name, value).map_err(|why| format!("{name}: {why}"))?;
            rest = after;
        }
        if options.principals.is_some() && !options.is_authority {
            return Err("principals: only for a cert-authority".into());
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: Option<String>) -> Result<(), String> {
        fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), String> {
            match slot.replace(value) {
                Some(_) => Err("it is given twice".into()),
                None => Ok(()),
            }
        }
        match (name, value) {
            ("restrict", None) => (self.pty, self.port_forwarding) = (false, false),
            ("pty", None) => self.pty = true,
            ("no-pty", None) => self.pty = false,
            ("port-forwarding", None) => self.port_forwarding = true,
            ("no-port-forwarding", None) => self.port_forwarding = false,
            ("cert-authority", None) => self.is_authority = true,
            ("verify-required", None) => self.verify_required = true,
            // There is none of what they would allow, and a touch is not asked for but demanded.
            (
                "agent-forwarding"
                | "no-agent-forwarding"
                | "x11-forwarding"
                | "no-x11-forwarding"
                | "user-rc"
                | "no-user-rc"
                | "no-touch-required",
                None,
            )
            | ("tunnel", Some(_)) => {}
            ("from", Some(list)) => once(&mut self.from, list.parse()?)?,
            ("expiry-time", Some(text)) => {
                let time = moment(&text)?;
                // Of several, the earliest counts.
                self.expires = Some(self.expires.map_or(time, |earlier| earlier.min(time)));
            }
            ("command", Some(command)) => once(&mut self.command, command)?,
            ("principals", Some(list)) => {
                let names = list.split(',').map(|name| name.trim().to_owned()).collect();
                once(&mut self.principals, names)?;
            }
            ("permitopen", Some(place)) => self.open.get_or_insert_default().push(opened(&place)?),
            ("permitlisten", Some(place)) => {
                self.listen.get_or_insert_default().push(place.parse()?);
            }
            ("environment", Some(text)) => self.environment(&text)?,
            (
                "from" | "expiry-time" | "command" | "principals" | "permitopen" | "permitlisten"
                | "environment" | "tunnel",
                None,
            ) => return Err("it has no value".into()),
            _ => return Err("it is unknown".into()),
        }
        Ok(())
    }

    /// Of all variables only the name of the visitor is taken; the first one, as in OpenSSH.
    fn environment(&mut self, text: &str) -> Result<(), String> {
        let (variable, value) = text.split_once('=').ok_or("it is written NAME=VALUE")?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if variable.is_empty() || !variable.bytes().all(is_name) {
            return Err(format!("`{variable}` is not the name of a variable"));
        }
        if variable == "TOWLINE_NAME" {
            if value.is_empty() || value.contains(char::is_control) {
                return Err(format!("{value:?} is not a name"));
            }
            self.name.get_or_insert_with(|| value.to_owned());
        }
        Ok(())
    }
}

/// Takes an option, its value without quotes, and leaves the rest.
fn next(text: &str) -> Result<(&str, Option<String>, &str), String> {
    let end = text.find([',', '=']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (value, rest) = match rest.strip_prefix("=") {
        None => (None, rest),
        Some(rest) => {
            let quoted = rest.strip_prefix('"').ok_or(format!("{name}: the value needs quotes"))?;
            let (value, rest) = dequote(quoted).ok_or(format!("{name}: a quote is not closed"))?;
            (Some(value), rest)
        }
    };
    match (rest, rest.strip_prefix(',')) {
        ("", _) => Ok((name, value, "")),
        (_, Some("")) => Err("there is a comma too many".into()),
        (_, Some(rest)) => Ok((name, value, rest)),
        _ => Err(format!("{name}: there is something after the value")),
    }
}

/// Up to the closing quote; `\"` is a quote within.
fn dequote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' if chars.next_if(|&(_, c)| c == '"').is_some() => value.push('"'),
            c => value.push(c),
        }
    }
    None
}

/// What a visitor may connect to is written with its host.
fn opened(place: &str) -> Result<Permit, String> {
    match place.contains(':') {
        true => place.parse(),
        false => Err(format!("`{place}` is not HOST:PORT")),
    }
}

/// `YYYYMMDD[HHMM[SS]][Z]`. Without the Z it is local time, and the zone is not known here: the
/// place on Earth where that time comes first decides, so that no key lives too long.
fn moment(text: &str) -> Result<SystemTime, String> {
    let wrong = || format!("`{text}` is not YYYYMMDD[HHMM[SS]][Z]");
    let (digits, first) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, UtcOffset::UTC),
        None => (text, offset!(+14)),
    };
    let is_long = matches!(digits.len(), 8 | 12 | 14);
    if !is_long || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let pair = |at: usize| digits.get(at..at + 2).map_or(Ok(0), |it| it.parse::<u8>());
    let parse = || -> Option<PrimitiveDateTime> {
        let month = Month::try_from(pair(4).ok()?).ok()?;
        let date = Date::from_calendar_date(digits[..4].parse().ok()?, month, pair(6).ok()?);
        let time = Time::from_hms(pair(8).ok()?, pair(10).ok()?, pair(12).ok()?);
        Some(PrimitiveDateTime::new(date.ok()?, time.ok()?))
    };
    Ok(parse().ok_or_else(wrong)?.assume_offset(first).into())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_end_at_a_space_outside_quotes() {
        let line = r#"command="echo \"a, b\" c",no-pty ssh-ed25519 AAAA"#;
        let (options, rest) = split(line).unwrap();
        assert_eq!(rest, "ssh-ed25519 AAAA");
        let options = Options::parse(options).unwrap();
        assert_eq!(options.command.as_deref(), Some(r#"echo "a, b" c"#));
        assert!(!options.pty && options.port_forwarding);
    }

    #[test]
    fn the_order_of_restrictions_counts() {
        let pty = |text: &str| Options::parse(text).unwrap().pty;
        assert!(pty("") && pty("restrict,PTY") && pty("no-pty,pty"));
        assert!(!pty("pty,restrict") && !pty("Restrict") && !pty("restrict,port-forwarding"));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in [
            "unknown",
            "restrict=\"yes\"",
            "from",
            "from=",
            "from=a",
            "from=\"a",
            "from=\"a\"b",
            "from=\"10.0.0.0/33\"",
            "from=\"a\",from=\"b\"",
            "command=\"a\",command=\"b\"",
            "permitopen=\"80\"",
            "permitlisten=\"a:b\"",
            "environment=\"a b=c\"",
            "environment=\"a\"",
            "environment=\"TOWLINE_NAME=\"",
            "principals=\"a\"",
            "expiry-time=\"2026\"",
            "expiry-time=\"20261301\"",
            "expiry-time=\"20260230Z\"",
            "expiry-time=\"202601012460\"",
            "no-pty,",
            ",no-pty",
        ] {
            assert!(Options::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates() {
        let seconds = |text: &str| {
            moment(text).unwrap().duration_since(UNIX_EPOCH).map(|it| it.as_secs()).unwrap()
        };
        assert_eq!(seconds("19700102Z"), 86400);
        assert_eq!(seconds("197001020102Z"), 86400 + 3720);
        assert_eq!(seconds("19700102010203z"), 86400 + 3723);
        assert_eq!(seconds("19700102"), 86400 - 14 * 3600, "midnight comes first in Kiribati");
    }

    #[test]
    fn the_name_of_the_visitor() {
        let options =
            r#"environment="PATH=/x",environment="TOWLINE_NAME=c1",environment="TOWLINE_NAME=c2""#;
        assert_eq!(Options::parse(options).unwrap().name.as_deref(), Some("c1"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in any::<String>(), value in "[^\0]{0,20}") {
            let _either = (Options::parse(&text), split(&text), moment(&text));
            for name in ["from", "expiry-time", "permitopen", "environment"] {
                let _either = Options::parse(&format!("{name}=\"{value}\""));
            }
        }

        #[test]
        fn a_quoted_command_is_taken_as_it_is(
            // A backslash before a quote cannot be written.
            parts in prop::collection::vec("([a-z ,=\\\\]{0,6}[a-z])?", 1..4)
        ) {
            let command = parts.join("\"");
            let written = format!("command=\"{}\",no-pty", parts.join("\\\""));
            let options = Options::parse(&written).unwrap();
            prop_assert_eq!(options.command, Some(command));
        }
    }
}
