//! Splits a stream of bytes at its line breaks.

use std::collections::VecDeque;

/// Splits a stream into lines. The bytes may arrive in chunks of any size.
pub(crate) struct LineSplitter {
    /// The longest incomplete line, in bytes.
    max_length: usize,
    complete: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Creates a splitter for lines of up to `max_length` bytes.
    pub(crate) fn with_max_length(max_length: usize) -> Self {
        Self { max_length, complete: VecDeque::new(), partial: Vec::new() }
    }

    /// Adds the next bytes. Returns `false` if the incomplete line is too long.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(piece);
            if !line.trim_ascii().is_empty() {
                self.complete.push_back(line);
            }
        }
        self.partial.extend_from_slice(last);
        self.partial.len() <= self.max_length
    }

    /// Returns the next complete line that is not blank, without its line break.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        self.complete.pop_front()
    }

    /// Returns the bytes after the last line break, unless they are blank.
    pub(crate) fn take_rest(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.partial)).filter(|rest| !rest.trim_ascii().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_lines_across_chunk_boundaries() {
        let text = b"one\ntwo\n\n\r\nthree\nbegun";
        for size in 1..text.len() {
            let mut lines = LineSplitter::with_max_length(5);
            assert!(text.chunks(size).all(|chunk| lines.push(chunk)));
            let complete = std::iter::from_fn(|| lines.next()).collect::<Vec<_>>();
            assert_eq!(complete, [&b"one"[..], b"two", b"three"], "chunks of {size}");
            assert_eq!(lines.take_rest().as_deref(), Some(&b"begun"[..]));
            assert_eq!(lines.take_rest(), None);
        }
    }

    #[test]
    fn rejects_a_line_beyond_the_maximum_length() {
        let mut lines = LineSplitter::with_max_length(64);
        let chunk = [b'x'; 16];
        assert!((0..4).all(|_| lines.push(&chunk)));
        assert!(!lines.push(&chunk));
    }
}
