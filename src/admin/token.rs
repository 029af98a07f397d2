//! The bearer token of the admin interface.

use std::path::PathBuf;

use slog::Logger;
use subtle::ConstantTimeEq;

use crate::credentials::secret::{Secret, SecretSource};
use crate::credentials::secret_file::SecretFile;
use crate::settings::Admin;

/// The key of the token file.
const SETTING: &str = "admin.tokenFile";

/// An unusable token file. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file is unreadable.
    #[error("admin.tokenFile: {}: cannot be read: {error}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// The file contains no token.
    #[error(
        "admin.tokenFile: {}: contains no token; must be visible ASCII characters",
        .0.display()
    )]
    Empty(PathBuf),
}

/// The token, from the settings or from a file that is read again when it changes.
pub(super) enum Token {
    Inline(Secret),
    File(Box<SecretFile>),
}

impl Token {
    /// Loads the token of the settings. Returns `None` if no token is set.
    ///
    /// # Errors
    /// Returns an error if the token file is unusable.
    pub(super) fn load(admin: &Admin, log: &Logger) -> Result<Option<Self>, TokenError> {
        let path = match &admin.token {
            None => return Ok(None),
            Some(SecretSource::Inline(secret)) => return Ok(Some(Self::Inline(secret.clone()))),
            Some(SecretSource::File(path)) => path,
        };
        let file = SecretFile::new(path, SETTING, log.clone())
            .map_err(|error| TokenError::File { path: path.clone(), error })?;
        if is_token(file.current().reveal()) {
            Ok(Some(Self::File(Box::new(file))))
        } else {
            Err(TokenError::Empty(path.clone()))
        }
    }

    /// Returns a token that matches no request.
    pub(super) fn unmatchable() -> Self {
        Self::Inline(Secret::new(""))
    }

    /// Returns the current token.
    pub(super) fn current(&self) -> Secret {
        match self {
            Self::Inline(secret) => secret.clone(),
            Self::File(file) => file.current(),
        }
    }

    /// Returns `true` if `presented` is the token. The comparison takes constant time, so that its
    /// duration reveals nothing.
    pub(super) fn matches(&self, presented: &str) -> bool {
        let token = self.current();
        // An emptied file rejects every request.
        is_token(token.reveal()) && token.reveal().as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

/// Checks that the token of the settings is usable, so that errors surface at start-up.
///
/// # Errors
/// Returns an error if the token file is unusable.
pub fn check_token(admin: &Admin, log: &Logger) -> Result<(), TokenError> {
    Token::load(admin, log).map(drop)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the token in the value of an `Authorization` header.
pub(super) fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Logger {
        Logger::root(slog::Discard, slog::o!())
    }

    fn admin(token: Option<SecretSource>) -> Admin {
        Admin { listen: None, token, allow_remote: false }
    }

    #[test]
    fn accepts_only_the_exact_token() {
        let with_token = admin(Some(SecretSource::Inline(Secret::new("hunter2"))));
        let token = Token::load(&with_token, &log()).unwrap().unwrap();
        assert!(token.matches("hunter2"));
        for other in ["", "hunter", "hunter22", "Hunter2", "hunter3"] {
            assert!(!token.matches(other), "{other}");
        }
        assert!(Token::load(&admin(None), &log()).unwrap().is_none());
    }

    #[actix_rt::test]
    async fn reads_token_file_and_rejects_empty_ones() {
        tokio::time::pause();
        let path = std::env::temp_dir().join(format!("highhock-token-{}", std::process::id()));
        let named = admin(Some(SecretSource::File(path.clone())));
        let missing = Token::load(&named, &log()).err().unwrap().to_string();
        assert!(missing.starts_with("admin.tokenFile: /") && missing.contains("cannot be read"));
        for nothing in ["", "\n", "two words\n"] {
            std::fs::write(&path, nothing).unwrap();
            let empty = Token::load(&named, &log()).err().unwrap().to_string();
            assert!(empty.contains("contains no token") && !empty.contains("two words"), "{empty}");
        }
        std::fs::write(&path, "hunter2\n").unwrap();
        let token = Token::load(&named, &log()).unwrap().unwrap();
        assert!(token.matches("hunter2"));
        std::fs::write(&path, "").unwrap();
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        assert!(!token.matches("") && !token.matches("hunter2"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn parses_bearer_authorization() {
        assert_eq!(bearer_token("Bearer hunter2"), Some("hunter2"));
        assert_eq!(bearer_token("bearer  hunter2"), Some("hunter2"));
        for header in ["hunter2", "Basic hunter2", "Bearer", ""] {
            assert_eq!(bearer_token(header), None, "{header}");
        }
    }
}
