//! Splits a stream of bytes at its line breaks.

use std::collections::VecDeque;

/// The part of a line that is kept if the line is too long, in bytes.
const KEPT_BYTES: usize = 1 << 10;

/// A line without its line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The whole line.
    Complete(Vec<u8>),
    /// A line that is longer than the maximum.
    TooLong {
        /// The start of the line.
        start: Vec<u8>,
        /// The length of the whole line, in bytes.
        length: usize,
    },
}

/// Splits a stream into lines. The bytes may arrive in chunks of any size.
pub(crate) struct LineSplitter {
    /// The longest line that is kept as a whole, in bytes.
    max_length: usize,
    complete: VecDeque<Line>,
    partial: Vec<u8>,
    /// The length of the incomplete line, of which `partial` may be the start only.
    length: usize,
}

impl LineSplitter {
    /// Creates a splitter. Lines of up to `max_length` bytes are kept as a whole.
    pub(crate) fn with_max_length(max_length: usize) -> Self {
        Self { max_length, complete: VecDeque::new(), partial: Vec::new(), length: 0 }
    }

    /// Adds the next bytes. The rest of a line that is too long is dropped as it arrives.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.keep(piece);
            let line = std::mem::take(&mut self.partial);
            let length = std::mem::take(&mut self.length);
            if length > self.max_length {
                self.complete.push_back(Line::TooLong { start: line, length });
            } else if !line.trim_ascii().is_empty() {
                self.complete.push_back(Line::Complete(line));
            }
        }
        self.keep(last);
    }

    /// Returns `true` if the incomplete line is too long.
    pub(crate) fn is_too_long(&self) -> bool {
        self.length > self.max_length
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_too_long() {
            self.length += bytes.len();
            return;
        }
        self.length += bytes.len();
        self.partial.extend_from_slice(bytes);
        if self.is_too_long() {
            self.partial.truncate(KEPT_BYTES);
            self.partial.shrink_to_fit();
        }
    }

    /// Returns the next complete line that is not blank.
    pub(crate) fn next(&mut self) -> Option<Line> {
        self.complete.pop_front()
    }

    /// Returns the bytes after the last line break, unless they are blank.
    pub(crate) fn take_rest(&mut self) -> Option<Vec<u8>> {
        self.length = 0;
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
            text.chunks(size).for_each(|chunk| lines.push(chunk));
            let complete = std::iter::from_fn(|| lines.next()).collect::<Vec<_>>();
            let expected =
                ["one", "two", "three"].map(|line| Line::Complete(line.as_bytes().to_vec()));
            assert_eq!(complete, expected, "chunks of {size}");
            assert_eq!(lines.take_rest().as_deref(), Some(&b"begun"[..]));
            assert_eq!(lines.take_rest(), None);
        }
    }

    #[test]
    fn skips_a_line_beyond_the_maximum_length() {
        let mut lines = LineSplitter::with_max_length(4 << 10);
        lines.push(b"one\n");
        for _ in 0..1000 {
            lines.push(&[b'x'; 64 << 10]);
            assert!(lines.is_too_long() && lines.partial.capacity() <= 4 << 10);
        }
        lines.push(b"x\ntwo\n");
        assert!(!lines.is_too_long());
        let complete = std::iter::from_fn(|| lines.next()).collect::<Vec<_>>();
        let whole = |line: &str| Line::Complete(line.as_bytes().to_vec());
        let start = vec![b'x'; KEPT_BYTES];
        let too_long = Line::TooLong { start, length: 1000 * (64 << 10) + 1 };
        assert_eq!(complete, [whole("one"), too_long, whole("two")]);
    }
}
