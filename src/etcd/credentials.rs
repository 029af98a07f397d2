//! Who to be towards etcd, with a password that may be in a file.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use slog::Logger;

use super::cluster::ClusterError;
use crate::credentials::secret::{Credentials, Secret, SecretSource};
use crate::credentials::secret_file::SecretFile;

/// A user's name and, as it is now, the password.
pub(super) struct LoadedCredentials {
    username: String,
    password: PasswordSource,
}

/// Where the password is.
enum PasswordSource {
    Inline(Secret),
    File(Box<SecretFile>),
}

impl LoadedCredentials {
    /// Reads the password where it is in a file.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(super) fn new(credentials: &Credentials, log: Logger) -> Result<Self, ClusterError> {
        let password = match &credentials.password {
            SecretSource::Inline(secret) => PasswordSource::Inline(secret.clone()),
            SecretSource::File(path) => {
                let file = SecretFile::new(path, "etcd.passwordFile", log)
                    .map_err(|error| ClusterError::PasswordFile { path: path.clone(), error })?;
                PasswordSource::File(Box::new(file))
            }
        };
        Ok(Self { username: credentials.username.clone(), password })
    }

    /// The user's name.
    pub(super) fn username(&self) -> &str {
        &self.username
    }

    /// The password as it is now.
    pub(super) fn password(&self) -> Secret {
        match &self.password {
            PasswordSource::Inline(secret) => secret.clone(),
            PasswordSource::File(file) => file.current(),
        }
    }

    /// The value of a header for basic authentication.
    pub(super) fn basic_auth(&self) -> Secret {
        let plain = format!("{}:{}", self.username, self.password().reveal());
        Secret::new(format!("Basic {}", BASE64_STANDARD.encode(plain)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(password: SecretSource) -> Result<LoadedCredentials, ClusterError> {
        let credentials = Credentials { username: "Aladdin".to_owned(), password };
        LoadedCredentials::new(&credentials, Logger::root(slog::Discard, slog::o!()))
    }

    #[test]
    fn encodes_basic_authentication() {
        let credentials = credentials(SecretSource::Inline(Secret::new("open sesame"))).unwrap();
        assert_eq!(credentials.basic_auth().reveal(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn missing_password_file_names_its_setting() {
        let error = credentials(SecretSource::File("/nonexistent/password".into())).err().unwrap();
        assert!(error.to_string().starts_with("etcd.passwordFile: /nonexistent/password: "));
    }
}
