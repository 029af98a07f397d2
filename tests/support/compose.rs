//! Containers as the real Docker Compose makes them, by the `docker-compose` program.

use std::fs;
use std::process::{Command, Stdio};

use super::docker::{docker, image, label};
use super::{TempDir, unique};

/// A Compose project; taken down when dropped.
pub struct Project {
    name: String,
    dir: TempDir,
}

impl Project {
    /// `docker-compose up`, with these services, each with the ports that it publishes at
    /// random ones of the host's, and with this label on all containers.
    #[track_caller]
    pub fn up(services: &[(&str, &[&str])], stage: &str) -> Self {
        let mut file = "version: \"2\"\nservices:\n".to_owned();
        for (service, ports) in services {
            file.push_str(&format!(
                "  {service}: {{ image: {:?}, command: [sleep, \"100000\"], network_mode: bridge, \
                 stop_signal: SIGKILL, ports: {ports:?}, labels: [{:?}, {stage:?}] }}\n",
                image(),
                label(),
            ));
        }
        let name = format!("hh{}x{}", std::process::id(), unique());
        // Made before its containers, so that those of one that fails are removed, too.
        let project = Self { name, dir: TempDir::new() };
        fs::write(project.dir.0.join("docker-compose.yml"), file).unwrap();
        project.run(&["up", "-d"]);
        project
    }

    /// What Compose calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `docker-compose <verb> …` on it.
    #[track_caller]
    pub fn run(&self, verb: &[&str]) {
        self.try_run(verb).unwrap_or_else(|error| panic!("docker-compose {verb:?}: {error}"));
    }

    /// The port of the host that leads to a service's only container (`80/tcp`).
    #[track_caller]
    pub fn published_port(&self, service: &str, port: &str) -> u16 {
        // Versions of Compose name containers in different ways.
        let is = |what, value: &str| format!("label=com.docker.compose.{what}={value}");
        let filters = [is("project", &self.name), is("service", service), is("oneoff", "False")];
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        let container = docker(&["ps", "--quiet"].into_iter().chain(filters).collect::<Vec<_>>());
        let bindings = docker(&["port", &container, port]);
        let first = bindings.lines().next().unwrap();
        first.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn try_run(&self, verb: &[&str]) -> Result<(), String> {
        let mut command = Command::new("docker-compose");
        command.args(["--project-name", &self.name]).args(verb).current_dir(&self.dir.0);
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{error}: run tests/run"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Panicking here, in a failing test, would end the whole test program.
        let _ = self.try_run(&["down", "--timeout", "1", "--remove-orphans"]);
    }
}
