//! A stream of bytes, cut at its line breaks.

use std::collections::VecDeque;

/// What came of a stream so far: whole lines, and the beginning of the next. The
/// bytes may come in pieces of any size.
pub(crate) struct Lines {
    /// In bytes.
    longest: usize,
    whole: VecDeque<Vec<u8>>,
    begun: Vec<u8>,
}

impl Lines {
    /// Nothing came so far. A line may have `longest` bytes.
    pub(crate) fn up_to(longest: usize) -> Self {
        Self { longest, whole: VecDeque::new(), begun: Vec::new() }
    }

    /// Takes the next bytes; `false`: there has been no line break for too long.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            let mut line = std::mem::take(&mut self.begun);
            line.extend_from_slice(piece);
            if !line.trim_ascii().is_empty() {
                self.whole.push_back(line);
            }
        }
        self.begun.extend_from_slice(last);
        self.begun.len() <= self.longest
    }

    /// The next whole line that isn't blank, without its line break.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }

    /// What came behind the last line break, where it isn't blank.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.begun)).filter(|rest| !rest.trim_ascii().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_line_breaks_wherever_the_pieces_end() {
        let text = b"one\ntwo\n\n\r\nthree\nbegun";
        for size in 1..text.len() {
            let mut lines = Lines::up_to(5);
            assert!(text.chunks(size).all(|piece| lines.take(piece)));
            let whole = std::iter::from_fn(|| lines.next()).collect::<Vec<_>>();
            assert_eq!(whole, [&b"one"[..], b"two", b"three"], "pieces of {size}");
            assert_eq!(lines.rest().as_deref(), Some(&b"begun"[..]));
            assert_eq!(lines.rest(), None);
        }
    }

    #[test]
    fn gives_up_on_a_line_without_an_end() {
        let mut lines = Lines::up_to(64);
        let piece = [b'x'; 16];
        assert!((0..4).all(|_| lines.take(&piece)));
        assert!(!lines.take(&piece));
    }
}
