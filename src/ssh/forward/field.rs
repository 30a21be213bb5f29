//! The fields of a forward.

use std::path::PathBuf;

/// What stands between two colons.
pub(super) struct Field {
    pub(super) text: String,
    /// It has a slash, which no host has.
    pub(super) is_path: bool,
}

/// Cuts a forward at its colons, at most into five fields, which are one too many.
pub(super) fn fields(text: &str) -> Result<Vec<Field>, String> {
    let mut rest = Some(text.trim_start()).filter(|text| !text.is_empty());
    if rest.is_none() {
        return Err("a forward is missing".into());
    }
    let mut fields = Vec::new();
    while let Some(part) = rest
        && fields.len() < 5
    {
        let (text, after) = match part.strip_prefix('[') {
            Some(inner) => bracketed(part, inner)?,
            None => plain(part)?,
        };
        fields.push(Field { is_path: text.contains('/'), text });
        rest = after;
    }
    Ok(fields)
}

type Cut<'a> = Result<(String, Option<&'a str>), String>;

fn bracketed<'a>(part: &str, inner: &'a str) -> Cut<'a> {
    let (text, after) = inner.split_once(']').ok_or(format!("`{part}` has no matching `]`"))?;
    match (after, after.strip_prefix(':')) {
        ("", _) => Ok((text.to_owned(), None)),
        (_, Some(after)) => Ok((text.to_owned(), Some(after))),
        _ => Err("a `]` must be followed by a colon".into()),
    }
}

fn plain(part: &str) -> Cut<'_> {
    let mut text = String::new();
    let mut chars = part.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return Ok((text, Some(&part[at + 1..]))),
            '\\' => match chars.next() {
                Some((_, escaped)) => text.push(escaped),
                None => return Err(format!("`{part}` ends in a backslash")),
            },
            _ => text.push(c),
        }
    }
    Ok((text, None))
}

impl Field {
    pub(super) fn port(&self) -> Result<u16, String> {
        let digits = self.text.bytes().all(|byte| byte.is_ascii_digit());
        let port = self.text.parse().ok().filter(|_| digits);
        port.ok_or_else(|| match &*self.text {
            "" => "a port is missing".into(),
            text => format!("`{text}` is not a port (0 to 65535)"),
        })
    }

    pub(super) fn host(&self) -> Result<String, String> {
        let is_wrong = |c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '[' | ']' | '/' | '\\' | '@' | '*')
        };
        match &*self.text {
            "" => Err("a host name is missing".into()),
            text if text.contains(is_wrong) => Err(format!("`{text}` is not a host name")),
            text => Ok(text.to_owned()),
        }
    }

    pub(super) fn path(&self) -> Result<PathBuf, String> {
        match self.text.contains('\0') {
            true => Err("a path has no NUL".into()),
            false => Ok(PathBuf::from(&self.text)),
        }
    }
}
