//! The user name and the current password for etcd. The password is in the settings or in a file.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use slog::Logger;

use super::cluster::ClusterError;
use crate::credentials::secret::{Credentials, Secret, SecretSource};
use crate::credentials::secret_file::SecretFile;

/// A user name, and the source of the password.
pub(super) struct LoadedCredentials {
    username: String,
    password: PasswordSource,
}

/// The source of the password. A file is read again when it changes.
enum PasswordSource {
    Inline(Secret),
    File(Box<SecretFile>),
}

impl LoadedCredentials {
    /// Returns the credentials, after reading the file if the password is in a file.
    ///
    /// # Errors
    /// Returns an error if the file is not readable.
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

    /// Returns the user name.
    pub(super) fn username(&self) -> &str {
        &self.username
    }

    /// Returns the current password.
    pub(super) fn password(&self) -> Secret {
        match &self.password {
            PasswordSource::Inline(secret) => secret.clone(),
            PasswordSource::File(file) => file.current(),
        }
    }

    /// Returns the value of an `Authorization` header for basic authentication.
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
