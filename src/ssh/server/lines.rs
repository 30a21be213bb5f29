//! What a terminal's line discipline does, for somebody who types: echo, and a line at a time.

/// The longest line, in bytes, as in a terminal of Linux.
const LONGEST: usize = 4096;

/// A line that is being typed.
#[derive(Default)]
pub(super) struct Lines {
    line: String,
    /// The bytes of a character that is not complete.
    partial: Vec<u8>,
    escape: Escape,
    /// The last byte was a CR: a LF after it is no line of its own.
    cr: bool,
}

/// How far a sequence of control characters has come.
#[derive(Default)]
enum Escape {
    #[default]
    None,
    /// ESC.
    Begun,
    /// `ESC [` or `ESC O`: it ends with a letter.
    Sequence,
}

/// What a typed byte has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing yet.
    Nothing,
    /// A line, or with ^D a part of one.
    Text(String),
    /// ^D on an empty line: the end of the input.
    End,
    /// ^C: the end of everything.
    Leave,
}

impl Lines {
    /// Takes a byte that was typed; what is to be seen of it is added to `echo`.
    pub(super) fn take(&mut self, byte: u8, echo: &mut Vec<u8>) -> Typed {
        let after_cr = std::mem::take(&mut self.cr);
        if self.escaped(byte) {
            return Typed::Nothing;
        }
        match byte {
            b'\n' if after_cr => {}
            b'\r' | b'\n' => {
                self.cr = byte == b'\r';
                echo.extend(b"\r\n");
                self.partial.clear();
                return Typed::Text(std::mem::take(&mut self.line) + "\n");
            }
            0x03 => {
                echo.extend(b"^C\r\n");
                return Typed::Leave;
            }
            0x04 if self.line.is_empty() => return Typed::End,
            0x04 => return Typed::Text(std::mem::take(&mut self.line)),
            0x7f | 0x08 => self.erase(1, echo),
            // ^U and ^W.
            0x15 => self.erase(usize::MAX, echo),
            0x17 => {
                let kept = self.line.trim_end();
                let last_word = kept.rsplit(char::is_whitespace).next().unwrap_or_default();
                let kept = kept.len() - last_word.len();
                self.erase(self.line[kept..].chars().count(), echo);
            }
            // ^R shows the line again.
            0x12 => {
                echo.extend(b"^R\r\n");
                echo.extend(self.line.as_bytes());
            }
            0x1b => self.escape = Escape::Begun,
            b'\t' | 0x20.. => self.put(byte, echo),
            _ => {}
        }
        Typed::Nothing
    }

    /// What has been typed of a line.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Whether a byte belongs to the sequence of a key such as an arrow; those do nothing.
    fn escaped(&mut self, byte: u8) -> bool {
        self.escape = match self.escape {
            Escape::None => return false,
            Escape::Begun if matches!(byte, b'[' | b'O') => Escape::Sequence,
            Escape::Sequence if !(0x40..=0x7e).contains(&byte) => Escape::Sequence,
            Escape::Begun | Escape::Sequence => Escape::None,
        };
        true
    }

    fn put(&mut self, byte: u8, echo: &mut Vec<u8>) {
        self.partial.push(byte);
        let text = match std::str::from_utf8(&self.partial) {
            Ok(text) => text,
            // More of it has to come.
            Err(error) if error.error_len().is_none() => return,
            Err(_) => "\u{fffd}",
        };
        if self.line.len() + text.len() > LONGEST {
            echo.push(0x07);
        } else {
            self.line.push_str(text);
            echo.extend(text.as_bytes());
        }
        self.partial.clear();
    }

    fn erase(&mut self, most: usize, echo: &mut Vec<u8>) {
        self.partial.clear();
        for _ in 0..most {
            if self.line.pop().is_none() {
                return;
            }
            echo.extend(b"\x08 \x08");
        }
    }
}

/// Writes text for a terminal: each line begins at the left. `last` is the byte before it.
pub(super) fn show(text: &[u8], last: &mut u8, out: &mut Vec<u8>) {
    for &byte in text {
        if byte == b'\n' && *last != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        *last = byte;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of typed bytes, and what is seen.
    fn typed(bytes: &[u8]) -> (Vec<Typed>, String) {
        let (mut lines, mut echo) = (Lines::default(), Vec::new());
        let typed = bytes.iter().map(|&byte| lines.take(byte, &mut echo));
        let typed = typed.filter(|it| *it != Typed::Nothing).collect();
        (typed, String::from_utf8(echo).unwrap())
    }

    fn text(text: &str) -> Typed {
        Typed::Text(text.to_owned())
    }

    #[test]
    fn a_line_is_seen_and_said() {
        assert_eq!(typed(b"hi\r"), (vec![text("hi\n")], "hi\r\n".into()));
        assert_eq!(typed(b"a\r\nb\n").0, [text("a\n"), text("b\n")]);
        assert_eq!(typed("grüße\r".as_bytes()).0, [text("grüße\n")]);
        assert_eq!(typed(b"\xff\r").0, [text("\u{fffd}\n")]);
    }

    #[test]
    fn a_line_is_corrected() {
        assert_eq!(typed(b"ab\x7fc\r"), (vec![text("ac\n")], "ab\x08 \x08c\r\n".into()));
        assert_eq!(typed("é\x08x\r".as_bytes()).0, [text("x\n")]);
        assert_eq!(typed(b"all\x15x\r").0, [text("x\n")]);
        assert_eq!(typed(b"one two \x17x\r").0, [text("one x\n")]);
        assert_eq!(typed("one\u{a0}two\x17x\r".as_bytes()).0, [text("one\u{a0}x\n")]);
        assert_eq!(typed(b"\x7f\x15\x17\r"), (vec![text("\n")], "\r\n".into()));
    }

    #[test]
    fn keys_end_the_input_or_everything() {
        assert_eq!(typed(b"\x04"), (vec![Typed::End], String::new()));
        assert_eq!(typed(b"a\x04\x04").0, [text("a"), Typed::End]);
        assert_eq!(typed(b"a\x03").0, [Typed::Leave]);
    }

    #[test]
    fn arrows_and_other_keys_do_nothing() {
        assert_eq!(
            typed(b"a\x1b[A\x1bOB\x1b[1;5Cb\x1bx\x00\r"),
            (vec![text("ab\n")], "ab\r\n".into())
        );
    }

    #[test]
    fn lines_begin_at_the_left() {
        let (mut last, mut out) = (0, Vec::new());
        for part in ["a\nb\r", "\nc\n\n"] {
            show(part.as_bytes(), &mut last, &mut out);
        }
        assert_eq!(out, b"a\r\nb\r\nc\r\n\r\n");
    }

    proptest! {
        #[test]
        fn a_line_never_grows_beyond_its_bound(bytes: Vec<u8>) {
            let (mut lines, mut echo) = (Lines::default(), Vec::new());
            for byte in bytes {
                lines.take(byte, &mut echo);
                prop_assert!(lines.line().len() <= LONGEST && lines.partial.len() < 4);
            }
        }
    }
}
