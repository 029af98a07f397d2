//! TLS for connections to etcd and Docker, with PEM files that may be replaced at any time.
//!
//! Connections use TLS below awc instead of awc's own TLS, for three reasons: the files are
//! checked for each new connection, an error names the setting to correct, and HTTP/1.1 is always
//! used.

mod certificate_error;
mod error;
mod files;
mod stream;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use slog::{Logger, warn};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::credentials::file_version::FileVersion;

pub use error::TlsError;
pub use files::TlsFileError;
pub use stream::MaybeTlsStream;

/// The shortest time between two checks of the files without a new connection.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The paths of the PEM files: the CAs to trust, and the client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the only CAs to trust; `None` for the CAs that this system trusts.
    pub ca: Option<PathBuf>,
    /// The client certificate, for servers that require one.
    pub identity: Option<ClientIdentity>,
}

/// A client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, followed by the intermediate certificates.
    pub cert: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Returns `true` if no file is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn file_versions(&self) -> Vec<FileVersion> {
        let identity = self.identity.iter().flat_map(|identity| [&identity.cert, &identity.key]);
        self.ca.iter().chain(identity).map(|path| FileVersion::read(path)).collect()
    }
}

/// A TLS client that reads its files again when they change.
pub struct Tls {
    files: TlsFiles,
    /// The section of the configuration that names the files: `etcd` or `docker`.
    section: &'static str,
    config: RefCell<Arc<ClientConfig>>,
    file_versions: RefCell<Vec<FileVersion>>,
    /// The number of times that the files were replaced by valid files.
    generation: Cell<u64>,
    checked_at: Cell<Instant>,
    /// `true` if the current files are invalid. This was logged.
    is_broken: Cell<bool>,
    log: Logger,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Returns an error if a file cannot be used.
    pub fn new(files: TlsFiles, section: &'static str, log: Logger) -> Result<Self, TlsFileError> {
        let file_versions = RefCell::new(files.file_versions());
        let config = RefCell::new(Arc::new(files::client_config(&files, section)?));
        let (generation, checked_at) = (Cell::new(0), Cell::new(Instant::now()));
        Ok(Self {
            files,
            section,
            config,
            file_versions,
            generation,
            checked_at,
            is_broken: Cell::new(false),
            log,
        })
    }

    /// Returns a number that changes when the files are replaced. Connections of an older
    /// generation use the old files. The files are checked at most once per second.
    pub fn generation(&self) -> u64 {
        if self.checked_at.get().elapsed() >= FILE_CHECK_INTERVAL {
            self.current_config();
        }
        self.generation.get()
    }

    /// Performs the TLS handshake on a new connection to `host`.
    ///
    /// # Errors
    /// Returns an error if the handshake fails; usually it contains a [`TlsError`].
    pub async fn wrap(&self, stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the host name is not valid in TLS")
        })?;
        let connector = TlsConnector::from(self.current_config());
        connector.connect(name, stream).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                io::Error::new(error.kind(), TlsError::connection_closed(self.section))
            }
            _ => self.explain(error),
        })
    }

    /// Returns the configuration from the latest valid files.
    fn current_config(&self) -> Arc<ClientConfig> {
        self.checked_at.set(Instant::now());
        let file_versions = self.files.file_versions();
        // Invalid files are read each time, because a replacement may be in progress.
        if self.is_broken.get() || *self.file_versions.borrow() != file_versions {
            match files::client_config(&self.files, self.section) {
                Ok(config) => {
                    info!(self.log, "TLS files were replaced; using the new files for new \
                        connections";
                        "section" => self.section);
                    self.config.replace(Arc::new(config));
                    self.file_versions.replace(file_versions);
                    self.is_broken.set(false);
                    self.generation.set(self.generation.get() + 1);
                }
                Err(error) => {
                    if !self.is_broken.replace(true) {
                        warn!(self.log, "cannot use a replaced TLS file; keeping the old files"; "error" => %error);
                    }
                }
            }
        }
        Arc::clone(&self.config.borrow())
    }

    /// Converts an error of rustls to a [`TlsError`] for the operator; keeps other errors.
    fn explain(&self, error: io::Error) -> io::Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(cause) => {
                let tls_error = TlsError::new(cause, &self.files, self.section);
                io::Error::new(error.kind(), tls_error)
            }
            None => error,
        }
    }
}
