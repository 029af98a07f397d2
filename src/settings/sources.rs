//! The sources of the configuration on this machine.

use std::path::PathBuf;

use super::environment::Environment;
use super::layer::Flag;
use super::variables::names_config_file;

/// The configuration file if neither the command line nor the environment names one.
pub const DEFAULT_FILE: &str = "/etc/highhock.json";

/// The socket that Docker engines listen on.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// A configuration file that the operator named. It must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// The path of the file.
    pub path: PathBuf,
    /// The place that names the file.
    pub named_by: FileOrigin,
}

/// The place that names a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOrigin {
    /// The argument of `--config` or `-c`.
    Flag,
    /// The rest of this flag, which begins with `-c`: `-cFILE`.
    AttachedFlag(String),
    /// The environment variable of this name.
    Variable(String),
}

impl From<PathBuf> for ConfigFile {
    fn from(path: PathBuf) -> Self {
        Self { path, named_by: FileOrigin::Flag }
    }
}

/// The sources from which the configuration is read.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file that the operator named.
    pub file: Option<ConfigFile>,
    /// The file to read if the operator named none; it may be missing.
    pub default_file: PathBuf,
    /// The settings on the command line.
    pub flags: Vec<Flag>,
    /// The environment variables.
    pub environment: Environment,
    /// The engine's socket, which is used if it exists and no engine is configured.
    pub docker_socket: PathBuf,
}

impl Sources {
    /// Creates the sources on this machine, with the file and the flags of the command line. A file
    /// of the command line wins over a file of the environment.
    pub fn new(file: Option<ConfigFile>, flags: Vec<Flag>, environment: Environment) -> Self {
        let default_file = PathBuf::from(DEFAULT_FILE);
        let file = file.or_else(|| {
            let (name, path) = environment.find(names_config_file)?;
            Some(ConfigFile { path: path.into(), named_by: FileOrigin::Variable(name) })
        });
        Self { file, default_file, flags, environment, docker_socket: PathBuf::from(DOCKER_SOCKET) }
    }
}
