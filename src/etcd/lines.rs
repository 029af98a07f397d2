//! A stream of bytes, cut at its line breaks.

use std::collections::VecDeque;

/// The longest line that is taken, in bytes.
const MAX_LINE: usize = 64 << 20;

/// What came of a stream so far: whole lines, and the beginning of the next. The
/// bytes may come in pieces of any size.
#[derive(Default)]
pub(super) struct Lines {
    whole: VecDeque<Vec<u8>>,
    begun: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes; `false`: there has been no line break for too long.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
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
        self.begun.len() <= MAX_LINE
    }

    /// The next whole line that isn't blank, without its line break.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }

    /// What came behind the last line break, where it isn't blank.
    pub(super) fn rest(&mut self) -> Option<Vec<u8>> {
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
            let mut lines = Lines::default();
            assert!(text.chunks(size).all(|piece| lines.take(piece)));
            let whole = std::iter::from_fn(|| lines.next()).collect::<Vec<_>>();
            assert_eq!(whole, [&b"one"[..], b"two", b"three"], "pieces of {size}");
            assert_eq!(lines.rest().as_deref(), Some(&b"begun"[..]));
            assert_eq!(lines.rest(), None);
        }
    }

    #[test]
    fn gives_up_on_a_line_without_an_end() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 16 << 20];
        assert!((0..4).all(|_| lines.take(&piece)));
        assert!(!lines.take(&piece));
    }
}
