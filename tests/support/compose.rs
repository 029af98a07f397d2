//! Containers that the real `docker-compose` program creates.

use std::fs;
use std::process::{Command, Stdio};

use super::docker::{docker, image, label};
use super::{TempDir, unique};

/// A Compose project. Dropping it removes the project.
pub struct Project {
    name: String,
    dir: TempDir,
}

impl Project {
    /// `docker-compose up` with these services. Each service publishes its ports at random host
    /// ports. All containers get this label.
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
        // Created before its containers, so that containers of a failed start are removed.
        let project = Self { name, dir: TempDir::new() };
        fs::write(project.dir.0.join("docker-compose.yml"), file).unwrap();
        project.run(&["up", "-d"]);
        project
    }

    /// The name of the project.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `docker-compose <verb> …` for this project.
    #[track_caller]
    pub fn run(&self, verb: &[&str]) {
        self.try_run(verb).unwrap_or_else(|error| panic!("docker-compose {verb:?}: {error}"));
    }

    /// The host port of a service's only container, for a container port like `80/tcp`.
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
        // A panic during another panic would abort the test program.
        let _ = self.try_run(&["down", "--timeout", "1", "--remove-orphans"]);
    }
}
