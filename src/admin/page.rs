//! The status page, which is a single file, and its Content-Security-Policy.

use std::sync::OnceLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::digest::{SHA256, digest};

/// The page. It fetches its data from the other endpoints.
pub(super) const PAGE: &str = include_str!("page.html");

/// Returns the Content-Security-Policy of the page: only its own script and style, by their hashes,
/// and requests to its own origin.
pub(super) fn content_security_policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let (script, style) = (csp_hash("script"), csp_hash("style"));
        format!(
            "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    })
}

/// Returns the hash of the only element of the page with this name.
fn csp_hash(element: &str) -> String {
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let after_start = PAGE.split_once(&start).map_or("", |(_, after_start)| after_start);
    let text = after_start.split_once(&end).map_or("", |(text, _)| text);
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_one_script_one_style_and_no_external_resource() {
        for element in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1);
            assert_eq!(PAGE.matches(&format!("<{element}>")).count(), 1);
        }
        for foreign in ["http://", "https://", "src=", "@import", "innerHTML", " style=", "eval("] {
            let foreign_but_names = PAGE.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign_but_names.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn policy_hashes_script_and_style() {
        let empty = BASE64_STANDARD.encode(digest(&SHA256, b""));
        assert_eq!(content_security_policy().matches("'sha256-").count(), 2);
        assert!(!content_security_policy().contains(&empty));
    }
}
