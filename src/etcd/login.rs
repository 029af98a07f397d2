//! Who to be towards etcd, with a password that may be in a file.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use slog::{Logger, warn};
use tokio::time::Instant;

use super::cluster::UnusableCluster;
use crate::secret::{Credentials, Password, Secret};
use crate::stamp::Stamp;

/// How often the password's file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A user's name and, as it is now, the password.
pub(super) struct Login {
    username: String,
    password: RefCell<Secret>,
    file: Option<Watched>,
    log: Logger,
}

/// A password's file.
struct Watched {
    path: PathBuf,
    stamp: Cell<Stamp>,
    looked: Cell<Instant>,
}

impl Login {
    /// Reads the password where it is in a file.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(super) fn new(credentials: &Credentials, log: Logger) -> Result<Self, UnusableCluster> {
        let (password, file) = match &credentials.password {
            Password::Given(secret) => (secret.clone(), None),
            Password::File(path) => {
                let stamp = Cell::new(Stamp::of(path));
                let secret = read(path)
                    .map_err(|error| UnusableCluster::PasswordFile { path: path.clone(), error })?;
                let looked = Cell::new(Instant::now());
                (secret, Some(Watched { path: path.clone(), stamp, looked }))
            }
        };
        let username = credentials.username.clone();
        Ok(Self { username, password: RefCell::new(password), file, log })
    }

    /// The user's name.
    pub(super) fn username(&self) -> &str {
        &self.username
    }

    /// The password as it is now.
    pub(super) fn password(&self) -> Secret {
        if let Some(file) = &self.file {
            self.look_at(file);
        }
        self.password.borrow().clone()
    }

    /// The value of a header for basic authentication.
    pub(super) fn basic(&self) -> Secret {
        let plain = format!("{}:{}", self.username, self.password().reveal());
        Secret::new(format!("Basic {}", BASE64_STANDARD.encode(plain)))
    }

    fn look_at(&self, file: &Watched) {
        if file.looked.get().elapsed() < LOOK_EVERY {
            return;
        }
        file.looked.set(Instant::now());
        let stamp = Stamp::of(&file.path);
        if file.stamp.replace(stamp) == stamp {
            return;
        }
        match read(&file.path) {
            Ok(password) => {
                info!(self.log, "etcd.passwordFile has changed; its new password is used");
                self.password.replace(password);
            }
            Err(error) => {
                warn!(self.log, "etcd.passwordFile has changed and can't be read; the old \
                    password stays in use"; "path" => %file.path.display(), "error" => %error);
            }
        }
    }
}

fn read(path: &std::path::Path) -> std::io::Result<Secret> {
    let text = std::fs::read_to_string(path)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
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

    #[actix_rt::test]
    async fn a_password_is_read_again_when_its_file_changes() {
        tokio::time::pause();
        let path = std::env::temp_dir().join(format!("highhock-password-{}", std::process::id()));
        std::fs::write(&path, "one\r\n").unwrap();
        let login = login(Password::File(path.clone())).unwrap();
        assert_eq!(login.password().reveal(), "one");
        std::fs::write(&path, " two words\n\n").unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(login.password().reveal(), " two words\n");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(login.password().reveal(), " two words\n");
        std::fs::write(&path, "three").unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(login.password().reveal(), "three");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_is_told_by_its_setting() {
        let error = login(Password::File("/nonexistent/password".into())).err().unwrap();
        assert!(error.to_string().starts_with("etcd.passwordFile: /nonexistent/password: "));
    }
}
