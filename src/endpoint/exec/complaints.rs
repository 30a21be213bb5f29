//! The stderr of a child, or of a command on a far machine, passed on line by line.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::report;

/// A longer line is shown in pieces.
const LONGEST: usize = 8 << 10;

/// Shows what a program says on its stderr, and who says it.
pub(crate) async fn pass_on_lines(stderr: impl AsyncRead + Unpin, who: String) {
    let mut stderr = BufReader::with_capacity(LONGEST, stderr);
    let mut line = Vec::new();
    while let Ok(true) = next_line(&mut stderr, &mut line).await {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        report::child(format_args!("{who}"), &String::from_utf8_lossy(text));
        line.clear();
    }
}

/// Reads up to the end of a line, of what fits, or of the stream; false if there was nothing left.
async fn next_line(
    from: &mut (impl AsyncBufReadExt + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    loop {
        let ready = from.fill_buf().await?;
        let newline = ready.iter().position(|&byte| byte == b'\n');
        let wanted = newline.map_or(ready.len(), |at| at + 1).min(LONGEST - line.len());
        line.extend_from_slice(&ready[..wanted]);
        from.consume(wanted);
        if wanted == 0 || line.ends_with(b"\n") || line.len() == LONGEST {
            return Ok(!line.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_line_comes_in_pieces() {
        let text = format!("short\n{}\nlast", "x".repeat(LONGEST + 10));
        let mut from = BufReader::with_capacity(100, text.as_bytes());
        let mut lengths = Vec::new();
        let mut line = Vec::new();
        while next_line(&mut from, &mut line).await.unwrap() {
            lengths.push(line.len());
            line.clear();
        }
        assert_eq!(lengths, [6, LONGEST, 11, 4]);
    }
}
