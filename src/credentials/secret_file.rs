//! A secret in a file, which may be replaced while the daemon runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use slog::{Logger, warn};
use tokio::time::Instant;

use super::file_version::Stamp;
use super::secret::Secret;

/// How often the file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What stands in a file, but for a line's end after it.
pub struct SecretFile {
    path: PathBuf,
    /// The setting that names the file, for the log.
    setting: &'static str,
    read: Mutex<Read>,
    log: Logger,
}

/// What was read, and when.
struct Read {
    secret: Secret,
    stamp: Stamp,
    looked: Instant,
}

impl SecretFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn new(path: &Path, setting: &'static str, log: Logger) -> io::Result<Self> {
        let stamp = Stamp::of(path);
        let read = Read { secret: read(path)?, stamp, looked: Instant::now() };
        Ok(Self { path: path.to_owned(), setting, read: Mutex::new(read), log })
    }

    /// The secret as it is now; as it was, where the file can't be read any more.
    pub fn current(&self) -> Secret {
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut known);
        known.secret.clone()
    }

    fn look(&self, known: &mut Read) {
        if known.looked.elapsed() < LOOK_EVERY {
            return;
        }
        known.looked = Instant::now();
        let stamp = Stamp::of(&self.path);
        if std::mem::replace(&mut known.stamp, stamp) == stamp {
            return;
        }
        match read(&self.path) {
            Ok(secret) => {
                info!(self.log, "a secret's file has changed; what it says now is used";
                    "setting" => self.setting, "path" => %self.path.display());
                known.secret = secret;
            }
            Err(error) => {
                warn!(self.log, "a secret's file has changed and can't be read; the old secret \
                    stays in use"; "setting" => self.setting, "path" => %self.path.display(),
                    "error" => %error);
            }
        }
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let text = std::fs::read_to_string(path)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_secret_is_read_again_when_its_file_changes() {
        tokio::time::pause();
        let path = std::env::temp_dir().join(format!("highhock-secret-{}", std::process::id()));
        std::fs::write(&path, "one\r\n").unwrap();
        let log = Logger::root(slog::Discard, slog::o!());
        let file = SecretFile::new(&path, "etcd.passwordFile", log).unwrap();
        assert_eq!(file.current().reveal(), "one");
        std::fs::write(&path, " two words\n\n").unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(file.current().reveal(), " two words\n");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(file.current().reveal(), " two words\n");
        std::fs::write(&path, "three").unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(file.current().reveal(), "three");
        std::fs::remove_file(&path).unwrap();
    }
}
