//! The status page: one file, and what a browser may do with it.

use std::sync::OnceLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::digest::{SHA256, digest};

/// The page. It fetches what it shows from the other endpoints.
pub(super) const PAGE: &str = include_str!("page.html");

/// Its Content-Security-Policy: only the very script and style in it, and questions to
/// where it came from.
pub(super) fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let (script, style) = (hash_of("script"), hash_of("style"));
        format!(
            "default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    })
}

/// The hash of the page's one element of this name.
fn hash_of(element: &str) -> String {
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let behind = PAGE.split_once(&start).map_or("", |(_, behind)| behind);
    let text = behind.split_once(&end).map_or("", |(text, _)| text);
    format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_loads_nothing() {
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
    fn its_policy_names_both() {
        let empty = BASE64_STANDARD.encode(digest(&SHA256, b""));
        assert_eq!(policy().matches("'sha256-").count(), 2);
        assert!(!policy().contains(&empty));
    }
}
