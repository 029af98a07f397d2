//! TLS towards etcd and Docker, from PEM files that may be replaced at any time.
//!
//! A connection is wrapped in TLS here, below awc, and not by awc's own TLS: so
//! the files are looked at for each new connection, a failure is told in words
//! that name the setting to mend, and HTTP/1.1 is what is spoken.

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

/// How often the files are looked at while no new connection is made.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The files that say whom to trust and who to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the CAs to trust, and no other. `None`: those that
    /// this system trusts.
    pub ca: Option<PathBuf>,
    /// Who to be, where a server asks.
    pub identity: Option<ClientIdentity>,
}

/// A client certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, and those between it and its CA.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Whether no file is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn file_versions(&self) -> Vec<FileVersion> {
        let identity = self.identity.iter().flat_map(|identity| [&identity.cert, &identity.key]);
        self.ca.iter().chain(identity).map(|path| FileVersion::read(path)).collect()
    }
}

/// The client's side of TLS, as its files are now.
pub struct Tls {
    files: TlsFiles,
    /// The section of the configuration that names the files: `etcd` or `docker`.
    section: &'static str,
    config: RefCell<Arc<ClientConfig>>,
    file_versions: RefCell<Vec<FileVersion>>,
    /// How many times they were replaced by others that can be used.
    generation: Cell<u64>,
    checked_at: Cell<Instant>,
    /// Whether the files are broken now, and that was told.
    is_broken: Cell<bool>,
    log: Logger,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Where one of them can't be used.
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

    /// A number that changes when the files were replaced: connections made before
    /// have the old ones. The files are looked at once a second at most.
    pub fn generation(&self) -> u64 {
        if self.checked_at.get().elapsed() >= FILE_CHECK_INTERVAL {
            self.current_config();
        }
        self.generation.get()
    }

    /// Speaks TLS over a fresh connection to `host`.
    ///
    /// # Errors
    /// Mostly a [`TlsError`] in it.
    pub async fn wrap(&self, stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no name that TLS knows"))?;
        let connector = TlsConnector::from(self.current_config());
        connector.connect(name, stream).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                io::Error::new(error.kind(), TlsError::connection_closed(self.section))
            }
            _ => self.explain(error),
        })
    }

    /// The configuration by the newest files that can be used.
    fn current_config(&self) -> Arc<ClientConfig> {
        self.checked_at.set(Instant::now());
        let file_versions = self.files.file_versions();
        // Broken ones are read each time: they are being replaced, maybe.
        if self.is_broken.get() || *self.file_versions.borrow() != file_versions {
            match files::client_config(&self.files, self.section) {
                Ok(config) => {
                    info!(self.log, "TLS files were replaced; new connections use them";
                        "section" => self.section);
                    self.config.replace(Arc::new(config));
                    self.file_versions.replace(file_versions);
                    self.is_broken.set(false);
                    self.generation.set(self.generation.get() + 1);
                }
                Err(error) => {
                    if !self.is_broken.replace(true) {
                        warn!(self.log, "a TLS file was replaced by one that can't be used; \
                            what was read before stays in use"; "error" => %error);
                    }
                }
            }
        }
        Arc::clone(&self.config.borrow())
    }

    /// Puts a failure of TLS into words for the operator; others stay as they are.
    fn explain(&self, error: io::Error) -> io::Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(cause) => {
                let failure = TlsError::new(cause, &self.files, self.section);
                io::Error::new(error.kind(), failure)
            }
            None => error,
        }
    }
}
