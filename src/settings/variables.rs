//! The environment variables that set keys.

use super::key::Key;
use super::keys::KEYS;
use crate::text::nearest::nearest;

/// The prefix of the variables that set keys, in any case.
const PREFIX: &str = "HIGHHOCK_";

/// The variable, after [`PREFIX`], that names the configuration file.
const CONFIG: &str = "CONFIG";

/// The beginnings, after [`PREFIX`], of variables that set no key. The test suites use `TEST_`.
/// Docker's container links and Kubernetes create the others if a container or a service is named
/// `highhock`.
const FOREIGN_PREFIXES: [&str; 4] = ["TEST_", "PORT", "SERVICE_", "ENV_"];

/// A variable that Docker's container links create, after [`PREFIX`].
const LINK_NAME: &str = "NAME";

/// The purpose of an environment variable.
#[derive(Debug)]
pub enum Variable {
    /// The variable sets this key.
    Sets(&'static Key),
    /// The variable would set this key with two underscores in place of one.
    Misspelt(&'static Key),
    /// The variable begins like the variables that set keys, and sets none.
    Unknown {
        /// The most similar variable, if one is similar at all.
        nearest: Option<String>,
    },
}

impl Variable {
    /// Returns the purpose of a variable; `None` if the variable belongs to another program.
    pub fn parse(name: &str) -> Option<Self> {
        let name = strip_prefix(name, PREFIX)?;
        if let Some(key) = find(name) {
            return Some(Self::Sets(key));
        }
        if is_foreign(name) {
            return None;
        }
        if let Some(key) = find(&name.replace('_', "__")) {
            return Some(Self::Misspelt(key));
        }
        Some(Self::Unknown { nearest: nearest_variable(name) })
    }
}

/// Returns the variable that sets a key.
pub fn variable_name(key: &Key) -> String {
    variable(key.path)
}

/// Returns `true` if this variable names the configuration file.
pub fn names_config_file(name: &str) -> bool {
    strip_prefix(name, PREFIX).is_some_and(|name| name.eq_ignore_ascii_case(CONFIG))
}

fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}

fn find(name: &str) -> Option<&'static Key> {
    let path = name.replace("__", ".");
    let is_match = |known: &str| known.eq_ignore_ascii_case(&path);
    KEYS.iter().find(|key| is_match(key.path) || key.alias.is_some_and(is_match))
}

fn is_foreign(name: &str) -> bool {
    let is_foreign_prefix = |prefix: &&str| strip_prefix(name, prefix).is_some();
    [CONFIG, LINK_NAME].iter().any(|known| name.eq_ignore_ascii_case(known))
        || FOREIGN_PREFIXES.iter().any(is_foreign_prefix)
}

fn nearest_variable(name: &str) -> Option<String> {
    let paths = KEYS.iter().flat_map(|key| std::iter::once(key.path).chain(key.alias));
    // A missing or an additional underscore does not count.
    let plain = |text: &str| text.replace(['_', '.'], "");
    let candidates = paths.map(|path| (path, plain(path)));
    let near = nearest(&plain(name), candidates.map(|(path, plain)| Candidate { path, plain }))?;
    Some(variable(near.path))
}

struct Candidate {
    path: &'static str,
    plain: String,
}

impl AsRef<str> for Candidate {
    fn as_ref(&self) -> &str {
        &self.plain
    }
}

/// Removes a prefix in any case; `None` if the text does not start with it.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_keys_in_any_case() {
        for (name, path) in [
            ("HIGHHOCK_DOCKER__POLLCONTAINER", "docker.pollContainer"),
            ("highhock_docker__pollContainer", "docker.pollContainer"),
            ("Highhock_Docker__PollContainer", "docker.pollContainer"),
            ("HIGHHOCK_LOGLEVEL", "logLevel"),
            ("HIGHHOCK_PUBLICHOST", "discovery.host"),
        ] {
            let Some(Variable::Sets(key)) = Variable::parse(name) else { panic!("{name}") };
            assert_eq!(key.path, path);
        }
    }

    #[test]
    fn every_key_is_found_with_one_underscore() {
        for key in KEYS.iter().filter(|key| key.path.contains('.')) {
            let name = variable_name(key);
            assert!(
                matches!(Variable::parse(&name), Some(Variable::Sets(found)) if found.path == key.path)
            );
            let single = name.replace("__", "_");
            let Some(Variable::Misspelt(meant)) = Variable::parse(&single) else {
                panic!("{single}")
            };
            assert_eq!(meant.path, key.path);
        }
    }

    #[test]
    fn unknown_variable_suggests_a_variable() {
        for (name, expected) in [
            ("HIGHHOCK_ETCD__URLL", Some("HIGHHOCK_ETCD__URL")),
            ("HIGHHOCK_DOCKER_POLL_CONTAINER", Some("HIGHHOCK_DOCKER__POLLCONTAINER")),
            ("HIGHHOCK_LOG_LEVEL", Some("HIGHHOCK_LOGLEVEL")),
            ("HIGHHOCK_PUBLIC_HOST", Some("HIGHHOCK_PUBLICHOST")),
            ("HIGHHOCK_CONFIGURATION", None),
            ("HIGHHOCK_TESTS", None),
            ("HIGHHOCK_", None),
        ] {
            let Some(Variable::Unknown { nearest }) = Variable::parse(name) else {
                panic!("{name}")
            };
            assert_eq!(nearest.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn variables_of_other_programs_are_skipped() {
        for name in [
            "HIGHHOCK_PORT",
            "HIGHHOCK_PORT_9465_TCP_ADDR",
            "HIGHHOCK_SERVICE_HOST",
            "HIGHHOCK_SERVICE_PORT_ADMIN",
            "HIGHHOCK_NAME",
            "HIGHHOCK_ENV_PATH",
            "HIGHHOCK_TEST_RUN",
            "highhock_test_seed",
            "HIGHHOCK_CONFIG",
            "highhock_config",
            "HIGHHOCK",
            "ETCD_URL",
        ] {
            assert!(Variable::parse(name).is_none(), "{name}");
        }
        assert!(names_config_file("highhock_config") && !names_config_file("HIGHHOCK_CONFIGS"));
    }
}
