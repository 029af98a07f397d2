//! The bearer token.

use std::path::PathBuf;

use slog::Logger;
use subtle::ConstantTimeEq;

use crate::credentials::secret::{Password, Secret};
use crate::credentials::secret_file::SecretFile;
use crate::settings::Admin;

/// The setting that names a file.
const SETTING: &str = "admin.tokenFile";

/// A token that can't be asked for, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum UnusableToken {
    /// Its file can't be read.
    #[error("admin.tokenFile: {}: can't be read: {error}", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Its file holds none.
    #[error("admin.tokenFile: {}: holds no token; takes visible ASCII characters", .0.display())]
    Empty(PathBuf),
}

/// Where the token is.
pub(super) enum Token {
    Given(Secret),
    File(Box<SecretFile>),
}

impl Token {
    /// The token that the settings name, if any.
    ///
    /// # Errors
    /// Where its file holds none.
    pub(super) fn of(admin: &Admin, log: &Logger) -> Result<Option<Self>, UnusableToken> {
        let path = match &admin.token {
            None => return Ok(None),
            Some(Password::Given(secret)) => return Ok(Some(Self::Given(secret.clone()))),
            Some(Password::File(path)) => path,
        };
        let file = SecretFile::new(path, SETTING, log.clone())
            .map_err(|error| UnusableToken::File { path: path.clone(), error })?;
        match is_token(file.current().reveal()) {
            true => Ok(Some(Self::File(Box::new(file)))),
            false => Err(UnusableToken::Empty(path.clone())),
        }
    }

    /// One that nobody has.
    pub(super) fn lost() -> Self {
        Self::Given(Secret::new(""))
    }

    /// The token as it is now.
    pub(super) fn current(&self) -> Secret {
        match self {
            Self::Given(secret) => secret.clone(),
            Self::File(file) => file.current(),
        }
    }

    /// Whether this is the token. How long the answer takes tells nothing of how much of
    /// it is right.
    pub(super) fn is(&self, told: &str) -> bool {
        let token = self.current();
        // A file that was emptied lets nobody in.
        is_token(token.reveal()) && token.reveal().as_bytes().ct_eq(told.as_bytes()).into()
    }
}

/// Whether the settings' token can be asked for: an operator should hear of that at once.
///
/// # Errors
/// Where it can't.
pub fn check_token(admin: &Admin, log: &Logger) -> Result<(), UnusableToken> {
    Token::of(admin, log).map(drop)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The token as it was told in an `Authorization` header.
pub(super) fn told(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Logger {
        Logger::root(slog::Discard, slog::o!())
    }

    fn admin(token: Option<Password>) -> Admin {
        Admin { listen: None, token, allow_remote: false }
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let given = admin(Some(Password::Given(Secret::new("hunter2"))));
        let token = Token::of(&given, &log()).unwrap().unwrap();
        assert!(token.is("hunter2"));
        for other in ["", "hunter", "hunter22", "Hunter2", "hunter3"] {
            assert!(!token.is(other), "{other}");
        }
        assert!(Token::of(&admin(None), &log()).unwrap().is_none());
    }

    #[actix_rt::test]
    async fn a_file_is_read_without_its_lines_end_and_must_hold_something() {
        tokio::time::pause();
        let path = std::env::temp_dir().join(format!("highhock-token-{}", std::process::id()));
        let named = admin(Some(Password::File(path.clone())));
        let missing = Token::of(&named, &log()).err().unwrap().to_string();
        assert!(missing.starts_with("admin.tokenFile: /") && missing.contains("can't be read"));
        for nothing in ["", "\n", "two words\n"] {
            std::fs::write(&path, nothing).unwrap();
            let empty = Token::of(&named, &log()).err().unwrap().to_string();
            assert!(empty.contains("holds no token") && !empty.contains("two words"), "{empty}");
        }
        std::fs::write(&path, "hunter2\n").unwrap();
        let token = Token::of(&named, &log()).unwrap().unwrap();
        assert!(token.is("hunter2"));
        std::fs::write(&path, "").unwrap();
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        assert!(!token.is("") && !token.is("hunter2"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_token_is_told_as_a_bearers() {
        assert_eq!(told("Bearer hunter2"), Some("hunter2"));
        assert_eq!(told("bearer  hunter2"), Some("hunter2"));
        for header in ["hunter2", "Basic hunter2", "Bearer", ""] {
            assert_eq!(told(header), None, "{header}");
        }
    }
}
