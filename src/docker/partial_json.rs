//! Reads single fields of JSON that is cut off or invalid.

/// Returns the text of the first field with this name. The JSON may continue in any way.
///
/// A quotation mark inside of a JSON text is escaped, so the name is not found in a value.
pub(super) fn find_text<'a>(json: &'a [u8], name: &str) -> Option<&'a str> {
    // The rest may be invalid UTF-8.
    let text = json.utf8_chunks().next()?.valid();
    let field = format!("\"{name}\":");
    let value = text[text.find(&field)? + field.len()..].trim_start().strip_prefix('"')?;
    Some(value.split_once('"')?.0)
}

/// Returns the id of a container in the field with this name.
pub(super) fn find_id<'a>(json: &'a [u8], name: &str) -> Option<&'a str> {
    let is_id = |id: &&str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    find_text(json, name).filter(is_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_id_in_unreadable_json() {
        for (row, expected) in [
            (&br#"{"Id":"abc","Names":7"#[..], Some("abc")),
            (br#"{ "Id": "abc", "Names": "#, Some("abc")),
            (b"{\"Id\":\"abc\",\"Labels\":{\"a\":\"\xff\xff", Some("abc")),
            (br#"{"Id":7}"#, None),
            (br#"{"Id":"#, None),
            (br#"{"Id":"abc"#, None),
            (br#"{"Id":"a b"}"#, None),
            (b"7", None),
        ] {
            assert_eq!(find_id(row, "Id"), expected, "{}", String::from_utf8_lossy(row));
        }
    }
}
