//! The sources of the configuration on this machine.

use std::path::PathBuf;

use super::environment::Environment;
use super::layer::Flag;

/// The file that is read where the command line names none.
pub const DEFAULT_FILE: &str = "/etc/highhock.json";

/// The socket that Docker engines listen on.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Where settings come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The file that the operator named; it must exist.
    pub file: Option<PathBuf>,
    /// The file that is read where the operator named none; it need not exist.
    pub default_file: PathBuf,
    /// What the command line says.
    pub flags: Vec<Flag>,
    /// The environment.
    pub environment: Environment,
    /// The socket to speak to where nothing names an engine and this exists.
    pub docker_socket: PathBuf,
}

impl Sources {
    /// The sources on this machine, for what the command line says.
    pub fn new(file: Option<PathBuf>, flags: Vec<Flag>, environment: Environment) -> Self {
        let default_file = PathBuf::from(DEFAULT_FILE);
        Self { file, default_file, flags, environment, docker_socket: PathBuf::from(DOCKER_SOCKET) }
    }
}
