//! A stream of bytes, cut at its line breaks.

use std::collections::VecDeque;

/// What came of a stream so far: whole lines, and the beginning of the next. The
/// bytes may come in pieces of any size.
pub(crate) struct LineSplitter {
    /// In bytes.
    max_length: usize,
    complete: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Nothing came so far. A line may have `max_length` bytes.
    pub(crate) fn with_max_length(max_length: usize) -> Self {
        Self { max_length, complete: VecDeque::new(), partial: Vec::new() }
    }

    /// Takes the next bytes; `false`: there has been no line break for too long.
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

    /// The next whole line that isn't blank, without its line break.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        self.complete.pop_front()
    }

    /// What came behind the last line break, where it isn't blank.
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
            assert!(text.chunks(size).all(|piece| lines.push(piece)));
            let complete = std::iter::from_fn(|| lines.next()).collect::<Vec<_>>();
            assert_eq!(complete, [&b"one"[..], b"two", b"three"], "pieces of {size}");
            assert_eq!(lines.take_rest().as_deref(), Some(&b"begun"[..]));
            assert_eq!(lines.take_rest(), None);
        }
    }

    #[test]
    fn rejects_a_line_beyond_the_maximum_length() {
        let mut lines = LineSplitter::with_max_length(64);
        let piece = [b'x'; 16];
        assert!((0..4).all(|_| lines.push(&piece)));
        assert!(!lines.push(&piece));
    }
}
