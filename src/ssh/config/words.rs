//! How a line of ssh_config is cut into words.

/// The keyword, lower case, and what follows it and its one `=`.
pub(super) fn keyword(line: &str) -> (String, &str) {
    let end = line.find(|c: char| is_space(c) || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_space);
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches(is_space);
    (keyword.trim_matches('"').to_lowercase(), rest)
}

/// The words after the keyword, up to a comment. Quotes group; a backslash takes the meaning from
/// a quote, a backslash, or a space outside quotes, and stays itself before anything else.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|&c| is_space(c)).is_some() {}
        if matches!(chars.peek(), None | Some('#')) {
            return Ok(words);
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(c) = chars.next() {
            let next = chars.peek().copied();
            match (c, quote) {
                ('\\', _)
                    if matches!(next, Some('\'' | '"' | '\\'))
                        || (quote.is_none() && next == Some(' ')) =>
                {
                    word.extend(chars.next());
                }
                (c, None) if is_space(c) => break,
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(end)) if c == end => quote = None,
                (c, _) => word.push(c),
            }
        }
        if quote.is_some() {
            return Err("a quote is not closed".into());
        }
        words.push(word);
    }
}

pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\u{c}')
}
