//! Splits a JSON array into its elements while it arrives.

/// The part of an element that is kept if the element is too long, in bytes.
const KEPT_BYTES: usize = 4 << 10;

/// An element of an array, as JSON that is not parsed yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ArrayElement {
    /// The whole element.
    Complete(Vec<u8>),
    /// The start of an element that is longer than the maximum.
    TooLong(Vec<u8>),
}

/// The position within the text of the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    BeforeArray,
    /// Within the array, at this depth of further arrays and objects.
    Within {
        depth: usize,
    },
    InString {
        depth: usize,
        is_escaped: bool,
    },
    AfterArray,
    /// The text is not an array.
    Invalid,
}

/// Splits one array into its elements. The bytes may arrive in chunks of any size. The elements
/// need not be valid.
pub(crate) struct JsonArraySplitter {
    max_length: usize,
    position: Position,
    element: Vec<u8>,
    is_too_long: bool,
}

impl JsonArraySplitter {
    /// Creates a splitter. Elements of up to `max_length` bytes are kept as a whole.
    pub(crate) fn with_max_length(max_length: usize) -> Self {
        Self {
            max_length,
            position: Position::BeforeArray,
            element: Vec::new(),
            is_too_long: false,
        }
    }

    /// Adds the next bytes, and passes each complete element to `receive`. Returns `false` if the
    /// text is not an array.
    pub(crate) fn push(&mut self, bytes: &[u8], receive: &mut impl FnMut(ArrayElement)) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            // Most bytes are within strings, and are kept in one step.
            rest = self.push_string_part(rest);
            if let Some((byte, behind)) = rest.split_first() {
                self.push_byte(*byte, receive);
                rest = behind;
            }
        }
        self.position != Position::Invalid
    }

    /// Returns `true` after the end of the array.
    pub(crate) fn is_complete(&self) -> bool {
        self.position == Position::AfterArray
    }

    /// Returns `true` if the array has begun and not ended.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.position, Position::Within { .. } | Position::InString { .. })
    }

    /// Keeps the bytes up to the next special one within a string, and returns the others.
    fn push_string_part<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if !matches!(self.position, Position::InString { is_escaped: false, .. }) {
            return bytes;
        }
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
        let (part, behind) =
            bytes.split_at(bytes.iter().position(is_special).unwrap_or(bytes.len()));
        self.keep(part);
        behind
    }

    fn push_byte(&mut self, byte: u8, receive: &mut impl FnMut(ArrayElement)) {
        self.position = match (self.position, byte) {
            (Position::InString { depth, is_escaped }, _) => {
                self.keep(&[byte]);
                match (is_escaped, byte) {
                    (false, b'"') => Position::Within { depth },
                    (_, _) => {
                        Position::InString { depth, is_escaped: !is_escaped && byte == b'\\' }
                    }
                }
            }
            (Position::Within { depth: 0 }, b',' | b']') => {
                self.finish_element(receive);
                if byte == b']' { Position::AfterArray } else { Position::Within { depth: 0 } }
            }
            (Position::Within { depth }, _) => {
                self.keep(&[byte]);
                match (byte, depth) {
                    (b'"', _) => Position::InString { depth, is_escaped: false },
                    (b'[' | b'{', _) => Position::Within { depth: depth + 1 },
                    (b']' | b'}', 0) => Position::Invalid,
                    (b']' | b'}', _) => Position::Within { depth: depth - 1 },
                    (_, _) => Position::Within { depth },
                }
            }
            (Position::BeforeArray, b'[') => Position::Within { depth: 0 },
            (position, _) if byte.is_ascii_whitespace() => position,
            (_, _) => Position::Invalid,
        };
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_too_long {
            return;
        }
        self.element.extend_from_slice(bytes);
        if self.element.len() > self.max_length {
            self.is_too_long = true;
            self.element.truncate(KEPT_BYTES);
            self.element.shrink_to_fit();
        }
    }

    fn finish_element(&mut self, receive: &mut impl FnMut(ArrayElement)) {
        let element = std::mem::take(&mut self.element);
        if std::mem::take(&mut self.is_too_long) {
            receive(ArrayElement::TooLong(element));
        } else if !element.trim_ascii().is_empty() {
            receive(ArrayElement::Complete(element));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, size: usize) -> (Vec<ArrayElement>, JsonArraySplitter, bool) {
        let mut array = JsonArraySplitter::with_max_length(20);
        let mut elements = Vec::new();
        let valid = text
            .as_bytes()
            .chunks(size)
            .all(|chunk| array.push(chunk, &mut |element| elements.push(element)));
        (elements, array, valid)
    }

    fn complete(texts: &[&str]) -> Vec<ArrayElement> {
        texts.iter().map(|text| ArrayElement::Complete(text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn splits_at_the_commas_of_the_array() {
        for (text, expected) in [
            ("[]", &[][..]),
            (" \n[ ] \r\n", &[]),
            (r#"[1,"a,]","b"]"#, &["1", r#""a,]""#, r#""b""#]),
            (r#"["\"],","\\",[]]"#, &[r#""\"],""#, r#""\\""#, "[]"]),
            (r#"[{"a":[1,2]},{}]"#, &[r#"{"a":[1,2]}"#, "{}"]),
            (r#"[nonsense,7]"#, &["nonsense", "7"]),
        ] {
            for size in 1..=text.len() {
                let (elements, array, valid) = split(text, size);
                assert_eq!(elements, complete(expected), "{text} in chunks of {size}");
                assert!(valid && array.is_complete() && !array.is_open(), "{text}");
            }
        }
    }

    #[test]
    fn skips_an_element_beyond_the_maximum_length() {
        let text = format!(r#"["{}","b"]"#, "x".repeat(10_000));
        let (elements, array, _) = split(&text, 100);
        let ArrayElement::TooLong(start) = &elements[0] else { panic!("{elements:?}") };
        assert_eq!(&start[..3], b"\"xx");
        assert_eq!(elements[1..], complete(&[r#""b""#]));
        assert!(array.is_complete());
    }

    #[test]
    fn recognises_cut_off_and_foreign_texts() {
        for text in ["[", "[1", "[1,", r#"["]"#, "[[]"] {
            assert!(split(text, 1).1.is_open(), "{text}");
        }
        for text in ["{}", "null", "<html>", "[]]", "[1] 2", "[}"] {
            let (_, array, valid) = split(text, 1);
            assert!(!valid && !array.is_open() && !array.is_complete(), "{text}");
        }
        let (_, array, valid) = split("", 1);
        assert!(valid && !array.is_open() && !array.is_complete());
    }
}
