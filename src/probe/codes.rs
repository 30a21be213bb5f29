//! Sets of status and close codes, as `401`, `1000-1001`, `4xxx` or `200,3xx`.

use std::fmt;
use std::str::FromStr;

/// A set of codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Codes {
    members: Vec<Member>,
    written: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    Range(u16, u16),
    /// The digits, where an `x` is any.
    Digits(String),
}

impl Codes {
    pub(super) fn contain(&self, code: u16) -> bool {
        self.members.iter().any(|member| match member {
            Member::Range(first, last) => (*first..=*last).contains(&code),
            Member::Digits(digits) => {
                let code = code.to_string();
                code.len() == digits.len()
                    && digits
                        .chars()
                        .zip(code.chars())
                        .all(|(want, got)| want == 'x' || want == got)
            }
        })
    }
}

impl FromStr for Codes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let members = text.split(',').map(member).collect::<Option<_>>();
        let members = members.ok_or_else(|| {
            format!("`{text}` is not a code, a range or a class, as 401, 1000-1001 or 4xxx")
        })?;
        Ok(Self { members, written: text.to_owned() })
    }
}

fn member(text: &str) -> Option<Member> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (code(first)?, code(last)?);
        return (first <= last).then_some(Member::Range(first, last));
    }
    if text.contains(['x', 'X']) {
        let digits = text.to_ascii_lowercase();
        let ok = digits.chars().all(|c| c == 'x' || c.is_ascii_digit());
        return (ok && matches!(digits.len(), 3 | 4)).then_some(Member::Digits(digits));
    }
    code(text).map(|code| Member::Range(code, code))
}

fn code(text: &str) -> Option<u16> {
    text.parse().ok().filter(|code| (100..=4999).contains(code))
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ranges_and_classes() {
        for (text, inside, outside) in [
            ("101", &[101][..], &[100, 102, 1010][..]),
            ("4xx", &[400, 451, 499], &[399, 500, 4000]),
            ("4xxx", &[4000, 4999], &[3999, 400]),
            ("4X01", &[4001, 4901], &[4002, 401]),
            ("1000-1001", &[1000, 1001], &[999, 1002]),
            ("200,3xx", &[200, 302], &[201, 400]),
        ] {
            let codes: Codes = text.parse().unwrap();
            assert!(inside.iter().all(|code| codes.contain(*code)), "{text}");
            assert!(!outside.iter().any(|code| codes.contain(*code)), "{text}");
            assert_eq!(codes.to_string(), text);
        }
        for text in ["", "1", "5000", "xx", "4xxxx", "4y", "1001-1000", "1-", "1000,", "-1"] {
            assert!(text.parse::<Codes>().is_err(), "{text}");
        }
    }
}
