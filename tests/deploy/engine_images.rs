//! Images that are built from the files of this machine instead of pulled from a registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::docker::{docker, label};
use crate::support::{TempDir, unique};
use crate::{file, run, run_successfully, text};

const DOCKERFILE: &str = "deploy/Dockerfile";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const HIGHHOCK: &str = env!("CARGO_BIN_EXE_highhock");

/// An image on the local engine. Dropping it removes the image. Its containers carry the label of
/// the tests.
pub struct Image {
    name: String,
}

impl Image {
    /// Imports files, each at its path in the image. `changes` are lines of a Dockerfile.
    #[track_caller]
    fn import(files: &[(&Path, &str)], changes: &[&str]) -> Self {
        let (folder, image) = (TempDir::new(), Self::with_unique_name());
        let root = folder.0.join("root");
        for (from, to) in files {
            copy_file(from, &root, to);
        }
        let archive = folder.0.join("archive.tar").display().to_string();
        let root = root.display().to_string();
        // In the image, root owns the files.
        let owner = ["--owner", "0", "--group", "0", "--numeric-owner"];
        run_successfully(Command::new("tar").args(owner).args(["-C", &root, "-cf", &archive, "."]));
        let label = format!("LABEL {}", label());
        let changes =
            changes.iter().copied().chain([&*label]).flat_map(|change| ["--change", change]);
        let import = ["import"].into_iter().chain(changes).chain([&*archive, &image.name]);
        docker(&import.collect::<Vec<_>>());
        image
    }

    /// Programs and their libraries, at their paths.
    #[track_caller]
    pub fn from_programs(programs: &[(&Path, &str)], changes: &[&str]) -> Self {
        let libraries: Vec<String> =
            programs.iter().flat_map(|(from, _)| libraries(from)).collect();
        let mut files = programs.to_vec();
        files.extend(libraries.iter().map(|path| (Path::new(path), &**path)));
        Self::import(&files, changes)
    }

    /// The last stage of the Dockerfile on an empty base with only the libraries that the program
    /// needs. The program is the one that cargo built for the tests.
    #[track_caller]
    pub fn from_last_stage(arguments: &[&str]) -> Self {
        let folder = TempDir::new();
        let program = folder.0.join("highhock");
        // Most of the file is debug information.
        run_successfully(Command::new("strip").arg("-o").arg(&program).arg(HIGHHOCK));
        let built = Self::import(
            &[(&program, "/usr/local/bin/highhock"), (Path::new(CERTIFICATES), CERTIFICATES)],
            &[],
        );
        let libraries = libraries(Path::new(HIGHHOCK));
        let libraries = libraries.iter().map(|path| (Path::new(path), &**path));
        let base = Self::import(&libraries.collect::<Vec<_>>(), &["ENV PATH=/usr/local/bin:/bin"]);
        let context = TempDir::new();
        let dockerfile = last_stage(&text(DOCKERFILE), &built.name);
        fs::write(context.0.join("Dockerfile"), dockerfile).unwrap();
        let image = Self::with_unique_name();
        let base = format!("BASE_IMAGE={}", base.name);
        let mut build = Command::new("docker");
        build.args(["build", "--force-rm", "--tag", &image.name, "--build-arg", &base]);
        build.args(arguments.iter().flat_map(|argument| ["--build-arg", argument]));
        run_successfully(build.arg(&context.0));
        image
    }

    fn with_unique_name() -> Self {
        Self { name: format!("highhock-test/deploy:{}-{}", std::process::id(), unique()) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a part of the image's configuration, by a template of `docker inspect`.
    #[track_caller]
    pub fn inspect(&self, format: &str) -> String {
        docker(&["image", "inspect", "--format", format, &self.name])
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // A panic during another panic would abort the test program.
        let _ = run(Command::new("docker").args(["rmi", "--force", &self.name]));
    }
}

/// Returns the last stage, based on a prebuilt image: an engine without BuildKit would otherwise
/// build the earlier stages.
fn last_stage(dockerfile: &str, built: &str) -> String {
    let global = dockerfile.lines().take_while(|line| !line.starts_with("FROM "));
    let arguments: String =
        global.filter(|line| line.starts_with("ARG ")).map(|line| format!("{line}\n")).collect();
    let last = dockerfile.rfind("\nFROM ").expect("a stage") + 1;
    format!("{arguments}FROM {built} AS build\n{}", &dockerfile[last..])
}

/// The shared libraries of a program, including the loader. A static program has none.
fn libraries(program: &Path) -> Vec<String> {
    let (_, output_text) = run(Command::new("ldd").arg(program));
    let words = output_text.split_whitespace().filter(|word| word.starts_with('/'));
    words.filter(|word| !word.ends_with(':')).map(str::to_owned).collect()
}

/// Copies the target of a path, with all symbolic links on the way.
fn copy_file(from: &Path, root: &Path, to: &str) {
    let to = root.join(to.trim_start_matches('/'));
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// The version that the Dockerfile assigns to the program.
pub fn version_in_dockerfile() -> String {
    let text = text(DOCKERFILE);
    let line = text.lines().find_map(|line| line.strip_prefix("ARG VERSION="));
    line.unwrap_or_else(|| panic!("{} has no version", file(DOCKERFILE).display())).to_owned()
}
