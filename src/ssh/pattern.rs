//! OpenSSH's patterns (ssh_config(5), PATTERNS): `*`, `?`, and lists with negation.

/// Whether all of `text` matches a pattern of `*` and `?`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // After a mismatch only the latest star needs to take one byte more: linear for one star, and
    // never exponential.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, t) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Whether a comma list has a pattern that matches and none that matches behind a `!`.
pub(super) fn list_matches(list: &str, text: &str) -> bool {
    any_matches(list.split(','), text)
}

/// Whether one of the patterns matches and none that matches stands behind a `!`.
pub(super) fn any_matches<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, text) => return false,
            Some(_) => {}
            None => found |= matches(pattern, text),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("192.168.0.?", "192.168.0.7", true),
            ("192.168.0.?", "192.168.0.77", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[::1]:22", "[::1]:22", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_negated_match_outweighs_all() {
        assert!(list_matches("*.a,!b.a", "c.a"));
        assert!(!list_matches("*.a,!b.a", "b.a"));
        assert!(!list_matches("!b.a,*.a", "b.a"));
        assert!(!list_matches("!b.a", "c.a"), "a negation alone lets nobody in");
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!matches(&"*a".repeat(1000), &"a".repeat(999)));
    }

    proptest! {
        #[test]
        fn what_is_replaced_by_stars_still_matches(text in "[a-c]{0,12}", at in 0usize..12, len in 0usize..4) {
            let at = at.min(text.len());
            let end = (at + len).min(text.len());
            let pattern = format!("{}*{}", &text[..at], &text[end..]);
            prop_assert!(matches(&pattern, &text));
        }

        #[test]
        fn a_text_without_wildcards_matches_itself_alone(a in "[a-c]{0,5}", b in "[a-c]{0,5}") {
            prop_assert_eq!(matches(&a, &b), a == b);
        }
    }
}
