//! What a member is called.

use crate::accept::Peer;
use crate::cli::value::NameFrom;

/// The longest name, in characters.
const LONGEST: usize = 64;

/// The name that a peer brings along: the one it has proved, or else the one it says.
pub(crate) fn chosen(peer: &Peer, from: Option<&NameFrom>) -> Option<String> {
    let said = || {
        let request = peer.request.as_ref()?;
        match from? {
            NameFrom::Header(field) => request.fields.get(field).map(str::to_owned),
            NameFrom::Query(parameter) => request.parameter(parameter),
            NameFrom::Path => {
                let last = request.path().trim_end_matches('/').rsplit('/').next()?;
                let last = percent_encoding::percent_decode_str(last).decode_utf8_lossy();
                Some(last.into_owned())
            }
        }
    };
    let name = peer.name.as_deref().map(str::to_owned).or_else(said)?;
    plain(&name)
}

/// What of a name is printed as itself and can be typed after an `@`, if there is any.
pub(crate) fn plain(name: &str) -> Option<String> {
    Some(sanitise(name)).filter(|name| !name.is_empty())
}

fn sanitise(name: &str) -> String {
    name.chars().filter(|&c| is_plain(c)).take(LONGEST).collect()
}

fn is_plain(c: char) -> bool {
    let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{00ad}');
    !c.is_control() && !c.is_whitespace() && !invisible && c != '@'
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::{Fields, Request};

    #[test]
    fn a_name_can_be_typed_and_commands_nothing() {
        assert_eq!(sanitise("an na@home\x1b[2J\r\n\u{202e}"), "annahome[2J");
        assert_eq!(sanitise(&"é".repeat(100)).chars().count(), LONGEST);
    }

    #[test]
    fn the_request_says_the_name() {
        let mut fields = Fields::default();
        fields.push("X-User", "an na");
        let target = "/rooms/b%C3%B6b/?name=eve".to_owned();
        let request = Request { is_old: false, method: "GET".into(), target, fields };
        let mut peer = Peer { request: Some(Arc::new(request)), ..Peer::default() };
        let named = |peer: &Peer, from: &str| chosen(peer, Some(&from.parse().unwrap()));
        assert_eq!(named(&peer, "header:x-user").as_deref(), Some("anna"));
        assert_eq!(named(&peer, "query:name").as_deref(), Some("eve"));
        assert_eq!(named(&peer, "path").as_deref(), Some("böb"));
        assert_eq!(named(&peer, "query:other"), None);
        assert_eq!(chosen(&peer, None), None);
        peer.name = Some("login".into());
        assert_eq!(named(&peer, "path").as_deref(), Some("login"));
    }
}
