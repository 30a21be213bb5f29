//! What proxies say of those they speak for: `Forwarded` (RFC 7239) and the nodes in it.

use std::net::{IpAddr, SocketAddr};

use crate::network;

/// One proxy's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Who asked it; none where it does not say, or says no address.
    pub node: Option<IpAddr>,
    /// What it was called.
    pub host: Option<String>,
    /// The scheme it was asked with.
    pub proto: Option<String>,
}

/// The words of all proxies, the nearest one's last; none if they cannot be told apart.
pub fn parse(value: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    for element in split(value, ',')? {
        let mut word = Word::default();
        for pair in split(element, ';')? {
            let (name, value) = pair.split_once('=')?;
            let value = unquoted(value)?;
            match &*name.to_ascii_lowercase() {
                "for" => word.node = node(&value),
                "host" => word.host = Some(value),
                "proto" => word.proto = Some(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        words.push(word);
    }
    Some(words)
}

/// The address of a node, which may have a port.
pub fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

/// A word as it is written. `host` and `proto` must be free of quotes.
pub fn write(word: &Word) -> String {
    let node = word.node.map(network::text);
    let mut parts = match (&node, word.node) {
        (None, _) => vec!["for=unknown"],
        (Some(node), Some(IpAddr::V6(_))) => vec!["for=\"[", node, "]\""],
        (Some(node), _) => vec!["for=", node],
    };
    if let Some(host) = &word.host {
        parts.extend([";host=\"", host, "\""]);
    }
    if let Some(proto) = &word.proto {
        parts.extend([";proto=", proto]);
    }
    parts.concat()
}

/// The parts between separators that are not quoted, without those that are empty.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    let parts = parts.into_iter().map(super::trim).filter(|part| !part.is_empty());
    (!quoted).then(|| parts.collect())
}

/// A token, or what a quoted string says.
fn unquoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else {
        return (!text.contains('"')).then(|| text.to_owned());
    };
    let (mut value, mut chars) = (String::new(), inner.chars());
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(value),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        let nodes = |text: &str| -> Vec<Option<String>> {
            let words = parse(text).unwrap();
            words.iter().map(|word| word.node.map(|it| it.to_string())).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(nodes("for=\"_gazonk\""), [None]);
        assert_eq!(nodes("For=\"[2001:db8:cafe::17]:4711\""), [some("2001:db8:cafe::17")]);
        assert_eq!(
            nodes("for=192.0.2.43, for=198.51.100.17"),
            [some("192.0.2.43"), some("198.51.100.17")]
        );
        assert_eq!(nodes("for=unknown;x=\"a,b;c\\\"\",by=_x"), [None, None]);
        let word = &parse("for=192.0.2.60;proto=HTTP;by=203.0.113.43;host=a").unwrap()[0];
        assert_eq!((word.proto.as_deref(), word.host.as_deref()), (Some("http"), Some("a")));
        for text in ["for", "for=\"a", "for=\"a\"b", "for=a\"b\"", "for=\"a\\"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            node in any::<Option<IpAddr>>(),
            host in proptest::option::of("[a-z0-9.:-]{1,20}"),
            proto in proptest::option::of("https?"),
        ) {
            let word = Word { node: node.map(|it| it.to_canonical()), host, proto };
            let text = format!("{}, {}", write(&word), write(&word));
            prop_assert_eq!(parse(&text), Some(vec![word.clone(), word]));
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = (parse(&text), node(&text));
        }
    }
}
