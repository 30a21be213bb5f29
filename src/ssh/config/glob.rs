//! The files that an Include names.

use std::path::{Path, PathBuf};

use regex::Regex;

/// The files whose paths match, sorted as glob(7) does.
pub(super) fn glob(path: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in Path::new(path).components() {
        let name = component.as_os_str().to_str().unwrap_or_default();
        found = match regex(name).filter(|_| name.contains(['*', '?', '['])) {
            Some(regex) => {
                let hidden = name.starts_with('.');
                found.iter().flat_map(|folder| entries(folder, &regex, hidden)).collect()
            }
            None => found.iter().map(|folder| folder.join(component)).collect(),
        };
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

/// A name that begins with a dot is matched only by a dot.
fn entries(folder: &Path, regex: &Regex, hidden: bool) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter(|name| name.starts_with('.') == hidden && regex.is_match(name));
    names.map(|name| folder.join(name)).collect()
}

/// None for what is no pattern after all, as `a[b`.
fn regex(pattern: &str) -> Option<Regex> {
    let mut regex = String::from("^");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                let not = rest.starts_with(['!', '^']);
                let class = &rest[usize::from(not)..];
                // A bracket that comes first is one of the characters.
                let end = class.char_indices().skip(1).find(|&(_, c)| c == ']')?.0;
                regex.push_str(if not { "[^" } else { "[" });
                for c in class[..end].chars() {
                    if matches!(c, '\\' | '[' | ']' | '^' | '&' | '~') {
                        regex.push('\\');
                    }
                    regex.push(c);
                }
                regex.push(']');
                rest = &class[end + 1..];
            }
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&format!("{regex}$")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_in_every_folder_and_sorted() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b/20.conf", "b/1.conf", "a/1.conf", "a/.1.conf", "a/1.bak"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let root = dir.path().to_str().unwrap();
            let found = glob(&format!("{root}/{pattern}"));
            found.iter().map(|it| it.strip_prefix(root).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("*/*.conf"), ["a/1.conf", "b/1.conf", "b/20.conf"]);
        assert_eq!(found("[ab]/?.conf"), ["a/1.conf", "b/1.conf"]);
        assert_eq!(found("[!b]/[0-9]*"), ["a/1.bak", "a/1.conf"]);
        assert_eq!(found("a/.*"), ["a/.1.conf"]);
        assert_eq!(found("a/1.conf"), ["a/1.conf"]);
        assert_eq!(found("c/*").len() + found("a/[1.conf").len(), 0);
    }
}
