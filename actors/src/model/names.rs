//! Names that are valid in DNS: domains, service names, labels.

use std::fmt;

/// The longest label of a name, in bytes (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

/// The longest name, in bytes of text without the final dot. It takes 255 bytes on the wire, the
/// limit of RFC 1035, section 2.3.4.
const NAME_MAX: usize = 253;

/// The largest number of characters that a message quotes.
const QUOTE_MAX: usize = 80;

/// A domain name: one or more labels, lower case, without a final dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(String);

/// A service's name, without the domain: one or more labels, lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

impl DomainName {
    /// Parses a domain name: labels of letters, digits, `-` and `_`, at most 63 bytes each and 253
    /// bytes in total. The name is converted to lower case, and one final dot is removed.
    ///
    /// # Errors
    /// Returns the reason if the name is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_suffix('.').unwrap_or(text);
        text.split('.').try_for_each(check_label)?;
        check_name_length(text.len())?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// Returns the whole name, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the labels, from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ServiceName {
    /// Parses a service's name below `domain`: labels of letters, digits, `-` and `_`, at most 63
    /// bytes each and 253 bytes in total with the domain. The name is converted to lower case.
    ///
    /// # Errors
    /// Returns the reason if the name is invalid, or if it contains a label that DNS servers of
    /// the SkyDNS kind reserve (`*`, `any`, `dns`).
    pub fn parse(text: &str, domain: &DomainName) -> Result<Self, String> {
        text.split('.').try_for_each(|label| {
            reject_reserved_label(label)?;
            check_label(label)
        })?;
        check_name_length(text.len() + ".".len() + domain.as_str().len())?;
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// Returns the whole name, without the domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the labels, from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks one label of a name: letters, digits, `-` and `_`, 1 to 63 bytes.
///
/// # Errors
/// Returns the reason if the label is invalid.
pub(crate) fn check_label(label: &str) -> Result<(), String> {
    if label.is_empty() {
        return Err("the name, or a part of it between two dots, is empty".into());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if let Some(odd) = label.chars().find(|&c| !allowed(c)) {
        return Err(format!(
            "{odd:?} is not allowed in {}: use letters (a to z), digits, `-` and `_`, with dots \
             between the parts of a name",
            quote(label),
        ));
    }
    if label.len() > LABEL_MAX {
        return Err(format!(
            "{} is {} bytes long: DNS allows {LABEL_MAX} between two dots",
            quote(label),
            label.len(),
        ));
    }
    Ok(())
}

/// Checks the length in bytes of a whole name, without a final dot.
///
/// # Errors
/// Returns the reason if the name is too long.
pub(crate) fn check_name_length(length: usize) -> Result<(), String> {
    if length <= NAME_MAX {
        return Ok(());
    }
    Err(format!("the whole name, with the domain, is {length} bytes long: DNS allows {NAME_MAX}"))
}

/// Quotes a text of a container for a message: escapes control characters, and truncates a long
/// text.
pub(crate) fn quote(text: &str) -> String {
    format!("{:?}", truncate(text, QUOTE_MAX))
}

fn reject_reserved_label(label: &str) -> Result<(), String> {
    let meaning = match label.to_ascii_lowercase().as_str() {
        "*" | "any" => "a DNS server reads it as a wildcard",
        "dns" => "a DNS server reserves it for its own name servers",
        _ => return Ok(()),
    };
    Err(format!("the label {} is not allowed in a service's name: {meaning}", quote(label)))
}

/// Returns at most the first `characters` characters of a text. An ellipsis marks a truncated
/// text.
pub(crate) fn truncate(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> DomainName {
        DomainName::parse("highhock.local").unwrap()
    }

    #[test]
    fn lower_cases_names_and_keeps_labels() {
        for (text, expected) in [
            ("httpd", "httpd"),
            ("HTTPd", "httpd"),
            ("api.httpd", "api.httpd"),
            ("_sip._udp", "_sip._udp"),
            ("-", "-"),
            ("8080", "8080"),
            ("anything.dnsmasq", "anything.dnsmasq"),
        ] {
            assert_eq!(ServiceName::parse(text, &domain()).unwrap().to_string(), expected);
        }
        let name = ServiceName::parse("b.a", &domain()).unwrap();
        assert_eq!(name.labels().rev().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn rejects_invalid_dns_names_with_reason() {
        for (text, reason) in [
            ("", "empty"),
            (".", "empty"),
            ("httpd.", "empty"),
            (".httpd", "empty"),
            ("a..b", "empty"),
            ("ht tpd", "' ' is not allowed in"),
            ("a/b", "'/' is not allowed in"),
            ("a@b", "'@' is not allowed in"),
            ("größe", "'ö' is not allowed in"),
            ("a\nb", "'\\n' is not allowed in \"a\\nb\""),
            ("*", "wildcard"),
            ("api.ANY", "wildcard"),
            ("any.api", "wildcard"),
            ("Dns", "name servers"),
            ("dns.httpd", "name servers"),
        ] {
            let refusal = ServiceName::parse(text, &domain()).unwrap_err();
            assert!(refusal.contains(reason), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn limits_label_to_63_bytes() {
        assert!(ServiceName::parse(&"a".repeat(63), &domain()).is_ok());
        let refusal = ServiceName::parse(&"a".repeat(64), &domain()).unwrap_err();
        assert!(refusal.contains("64 bytes long"), "{refusal}");
        assert!(DomainName::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn limits_name_with_domain_to_253_bytes() {
        // 236 bytes, and 15 of the domain with its dot.
        let short_labels = "a.".repeat(118);
        assert!(ServiceName::parse(&format!("{short_labels}aa"), &domain()).is_ok());
        let refusal = ServiceName::parse(&format!("{short_labels}aaa"), &domain()).unwrap_err();
        assert!(refusal.contains("254 bytes long"), "{refusal}");

        let short_labels = "a.".repeat(126);
        assert!(DomainName::parse(&format!("{short_labels}a")).is_ok());
        assert!(DomainName::parse(&format!("{short_labels}aa")).is_err());
    }

    #[test]
    fn strips_one_final_dot_of_a_domain() {
        assert_eq!(DomainName::parse("HighHock.Local.").unwrap().as_str(), "highhock.local");
        for text in ["", ".", "highhock.local..", "*.local", "high hock"] {
            assert!(DomainName::parse(text).is_err(), "{text:?}");
        }
        // A domain may contain labels that are reserved in a service's name.
        assert!(DomainName::parse("dns.example.com").is_ok());
    }
}
