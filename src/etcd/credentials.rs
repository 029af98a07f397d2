//! Who to be towards etcd, with a password that may be in a file.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use slog::Logger;

use super::cluster::UnusableCluster;
use crate::credentials::secret::{Credentials, Password, Secret};
use crate::credentials::secret_file::SecretFile;

/// A user's name and, as it is now, the password.
pub(super) struct Login {
    username: String,
    password: Source,
}

/// Where the password is.
enum Source {
    Given(Secret),
    File(Box<SecretFile>),
}

impl Login {
    /// Reads the password where it is in a file.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(super) fn new(credentials: &Credentials, log: Logger) -> Result<Self, UnusableCluster> {
        let password = match &credentials.password {
            Password::Given(secret) => Source::Given(secret.clone()),
            Password::File(path) => {
                let file = SecretFile::new(path, "etcd.passwordFile", log)
                    .map_err(|error| UnusableCluster::PasswordFile { path: path.clone(), error })?;
                Source::File(Box::new(file))
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
            Source::Given(secret) => secret.clone(),
            Source::File(file) => file.current(),
        }
    }

    /// The value of a header for basic authentication.
    pub(super) fn basic(&self) -> Secret {
        let plain = format!("{}:{}", self.username, self.password().reveal());
        Secret::new(format!("Basic {}", BASE64_STANDARD.encode(plain)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(password: Password) -> Result<Login, UnusableCluster> {
        let credentials = Credentials { username: "Aladdin".to_owned(), password };
        Login::new(&credentials, Logger::root(slog::Discard, slog::o!()))
    }

    #[test]
    fn basic_authentication_is_as_in_its_rfc() {
        let login = login(Password::Given(Secret::new("open sesame"))).unwrap();
        assert_eq!(login.basic().reveal(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn a_file_that_is_not_there_is_told_by_its_setting() {
        let error = login(Password::File("/nonexistent/password".into())).err().unwrap();
        assert!(error.to_string().starts_with("etcd.passwordFile: /nonexistent/password: "));
    }
}
