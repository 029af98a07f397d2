//! The sources of the configuration on this machine.

use std::path::PathBuf;

use super::environment::Environment;
use super::layer::Flag;

/// The configuration file if the command line names none.
pub const DEFAULT_FILE: &str = "/etc/highhock.json";

/// The socket that Docker engines listen on.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The sources from which the configuration is read.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file that the command line names; it must exist.
    pub file: Option<PathBuf>,
    /// The file to read if the command line names none; it may be missing.
    pub default_file: PathBuf,
    /// The settings on the command line.
    pub flags: Vec<Flag>,
    /// The environment variables.
    pub environment: Environment,
    /// The engine's socket, which is used if it exists and no engine is configured.
    pub docker_socket: PathBuf,
}

impl Sources {
    /// Creates the sources on this machine, with the file and the flags of the command line.
    pub fn new(file: Option<PathBuf>, flags: Vec<Flag>, environment: Environment) -> Self {
        let default_file = PathBuf::from(DEFAULT_FILE);
        Self { file, default_file, flags, environment, docker_socket: PathBuf::from(DOCKER_SOCKET) }
    }
}
