//! A secret in a file that may be replaced while the daemon runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use slog::{Logger, warn};
use tokio::time::Instant;

use super::file_version::FileVersion;
use super::secret::Secret;

/// The shortest time between two checks of the file.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The content of a file, without one line break at its end. The file is read again when it
/// changes.
pub struct SecretFile {
    path: PathBuf,
    /// The setting that names the file, for the log.
    setting: &'static str,
    cached: Mutex<CachedSecret>,
    log: Logger,
}

/// The content at the last read.
struct CachedSecret {
    secret: Secret,
    version: FileVersion,
    checked_at: Instant,
}

impl SecretFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn new(path: &Path, setting: &'static str, log: Logger) -> io::Result<Self> {
        let version = FileVersion::read(path);
        let cached =
            CachedSecret { secret: read_secret(path)?, version, checked_at: Instant::now() };
        Ok(Self { path: path.to_owned(), setting, cached: Mutex::new(cached), log })
    }

    /// Returns the current secret, or the last one if the file can no longer be read.
    pub fn current(&self) -> Secret {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        self.refresh(&mut cached);
        cached.secret.clone()
    }

    fn refresh(&self, cached: &mut CachedSecret) {
        if cached.checked_at.elapsed() < CHECK_INTERVAL {
            return;
        }
        cached.checked_at = Instant::now();
        let version = FileVersion::read(&self.path);
        if std::mem::replace(&mut cached.version, version) == version {
            return;
        }
        match read_secret(&self.path) {
            Ok(secret) => {
                info!(self.log, "file of a secret was replaced; using the new secret";
                    "setting" => self.setting, "path" => %self.path.display());
                cached.secret = secret;
            }
            Err(error) => {
                warn!(self.log, "cannot read the replaced file of a secret; keeping the old \
                    secret"; "setting" => self.setting, "path" => %self.path.display(),
                    "error" => %error);
            }
        }
    }
}

fn read_secret(path: &Path) -> io::Result<Secret> {
    let text = std::fs::read_to_string(path)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn rereads_the_secret_when_its_file_changes() {
        tokio::time::pause();
        let path = std::env::temp_dir().join(format!("highhock-secret-{}", std::process::id()));
        std::fs::write(&path, "one\r\n").unwrap();
        let log = Logger::root(slog::Discard, slog::o!());
        let file = SecretFile::new(&path, "etcd.passwordFile", log).unwrap();
        assert_eq!(file.current().reveal(), "one");
        std::fs::write(&path, " two words\n\n").unwrap();
        tokio::time::advance(CHECK_INTERVAL).await;
        assert_eq!(file.current().reveal(), " two words\n");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(CHECK_INTERVAL).await;
        assert_eq!(file.current().reveal(), " two words\n");
        std::fs::write(&path, "three").unwrap();
        tokio::time::advance(CHECK_INTERVAL).await;
        assert_eq!(file.current().reveal(), "three");
        std::fs::remove_file(&path).unwrap();
    }
}
