//! Images made of this machine's files, in place of those of a registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::docker::{docker, label};
use crate::support::{TempDir, unique};
use crate::{file, run, run_successfully, text};

const DOCKERFILE: &str = "deploy/Dockerfile";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
const HIGHHOCK: &str = env!("CARGO_BIN_EXE_highhock");

/// An image on the local engine; removed when dropped. Its containers have the label of
/// all that a test makes.
pub struct Image {
    name: String,
}

impl Image {
    /// Imports files, each with its place in the image; changes are lines of a Dockerfile.
    #[track_caller]
    fn import(files: &[(&Path, &str)], changes: &[&str]) -> Self {
        let (folder, image) = (TempDir::new(), Self::with_unique_name());
        let root = folder.0.join("root");
        for (from, to) in files {
            copy_file(from, &root, to);
        }
        let archive = folder.0.join("archive.tar").display().to_string();
        let root = root.display().to_string();
        // Whoever runs it is to find them root's.
        let owner = ["--owner", "0", "--group", "0", "--numeric-owner"];
        run_successfully(Command::new("tar").args(owner).args(["-C", &root, "-cf", &archive, "."]));
        let label = format!("LABEL {}", label());
        let changes =
            changes.iter().copied().chain([&*label]).flat_map(|change| ["--change", change]);
        let import = ["import"].into_iter().chain(changes).chain([&*archive, &image.name]);
        docker(&import.collect::<Vec<_>>());
        image
    }

    /// Programs with the libraries that they need, each in its place.
    #[track_caller]
    pub fn from_programs(programs: &[(&Path, &str)], changes: &[&str]) -> Self {
        let libraries: Vec<String> =
            programs.iter().flat_map(|(from, _)| libraries(from)).collect();
        let mut files = programs.to_vec();
        files.extend(libraries.iter().map(|path| (Path::new(path), &**path)));
        Self::import(&files, changes)
    }

    /// The last stage of the Dockerfile, on a base of nothing but the libraries that the
    /// built program needs. The program is not built again: it is as cargo built it for
    /// the tests.
    #[track_caller]
    pub fn from_last_stage(arguments: &[&str]) -> Self {
        let folder = TempDir::new();
        let program = folder.0.join("highhock");
        // Most of it is for debuggers.
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

    /// A part of its configuration, in Docker's template language.
    #[track_caller]
    pub fn inspect(&self, format: &str) -> String {
        docker(&["image", "inspect", "--format", format, &self.name])
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Panicking here, in a failing test, would end the whole test program.
        let _ = run(Command::new("docker").args(["rmi", "--force", &self.name]));
    }
}

/// Its last stage, with an image in place of what is built before: an engine without
/// BuildKit would build that, wanted or not.
fn last_stage(dockerfile: &str, built: &str) -> String {
    let global = dockerfile.lines().take_while(|line| !line.starts_with("FROM "));
    let arguments: String =
        global.filter(|line| line.starts_with("ARG ")).map(|line| format!("{line}\n")).collect();
    let last = dockerfile.rfind("\nFROM ").expect("a stage") + 1;
    format!("{arguments}FROM {built} AS build\n{}", &dockerfile[last..])
}

/// The shared libraries that a program is started with, its loader too; a static one has
/// none.
fn libraries(program: &Path) -> Vec<String> {
    let (_, said) = run(Command::new("ldd").arg(program));
    let words = said.split_whitespace().filter(|word| word.starts_with('/'));
    words.filter(|word| !word.ends_with(':')).map(str::to_owned).collect()
}

/// Copies what a path leads to, however many links are on the way.
fn copy_file(from: &Path, root: &Path, to: &str) {
    let to = root.join(to.trim_start_matches('/'));
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// The version that the Dockerfile takes for the program's.
pub fn version_in_dockerfile() -> String {
    let text = text(DOCKERFILE);
    let line = text.lines().find_map(|line| line.strip_prefix("ARG VERSION="));
    line.unwrap_or_else(|| panic!("{} has no version", file(DOCKERFILE).display())).to_owned()
}
