//! Text with `${NAME}` in it, where NAME was captured by an earlier step. `$${` is `${` as it is.

use std::collections::BTreeMap;

/// The values captured so far.
pub(super) type Captures = BTreeMap<String, String>;

/// Text whose placeholders are filled when its step is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Name(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let (mut literal, mut rest) = (String::new(), text);
        while let Some(at) = rest.find("${") {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            if literal.ends_with('$') {
                literal.push('{');
                rest = &rest[2..];
                continue;
            }
            match rest[2..].split_once('}').filter(|(name, _)| is_name(name)) {
                Some((name, after)) => {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                    parts.push(Part::Name(name.to_owned()));
                    rest = after;
                }
                None => {
                    literal.push_str("${");
                    rest = &rest[2..];
                }
            }
        }
        literal.push_str(rest);
        parts.push(Part::Literal(literal));
        parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
        Self(parts)
    }

    /// The names it needs.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The one name that this consists of.
    pub(super) fn only_name(&self) -> Option<&str> {
        match &self.0[..] {
            [Part::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// The text. A name that nothing has captured stands for itself; in a step there is none.
    pub(super) fn fill(&self, captures: &Captures) -> String {
        self.fill_with(captures, str::to_owned)
    }

    /// The text, with what was captured passed through `escape`.
    pub(super) fn fill_with(&self, captures: &Captures, escape: impl Fn(&str) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Literal(text) => text.clone(),
            Part::Name(name) => match captures.get(name) {
                Some(value) => escape(value),
                None => format!("${{{name}}}"),
            },
        });
        parts.collect()
    }
}

/// Whether `text` can name a captured value: a letter or `_`, then letters, digits and `_`.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn captured_names_are_filled_in() {
        let captures = Captures::from([("id".into(), "7".into())]);
        for (text, want) in [
            ("${id}", "7"),
            ("a${id}b${id}", "a7b7"),
            ("${other} ${2} ${ ${}", "${other} ${2} ${ ${}"),
            ("${${id}", "${7"),
            ("$id {id}", "$id {id}"),
            ("$${id} $${} $$ $${", "${id} ${} $$ ${"),
            ("", ""),
        ] {
            assert_eq!(Template::parse(text).fill(&captures), want, "{text}");
        }
        assert_eq!(Template::parse("x${a}${b1}").names().collect::<Vec<_>>(), ["a", "b1"]);
        assert_eq!(Template::parse("${a}").only_name(), Some("a"));
        assert_eq!(Template::parse("${a} ").only_name(), None);
    }

    proptest! {
        #[test]
        fn without_captures_text_is_itself(text in "[${}a-c0 ]{0,20}") {
            let escaped = text.replace("${", "$${");
            prop_assert_eq!(Template::parse(&escaped).fill(&Captures::new()), text);
        }
    }
}
