//! Images made of the image of the test containers.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::docker::{Container, LABEL, docker, image};
use super::{TempDir, run_id, unique};

/// An image with the contents of [`image`]. Dropping it removes its tag, and the image if it has
/// no other tag.
pub struct Image {
    name: String,
}

impl Image {
    /// Another tag of the image of the test containers.
    #[track_caller]
    pub fn tag() -> Self {
        let tag = Self::new();
        docker(&["tag", image(), &tag.name]);
        tag
    }

    /// An image of another architecture (`arm64`). Its programs are those of this machine. Loaded
    /// from an archive, because Docker 20.10 imports only images of its own architecture.
    #[track_caller]
    pub fn of_architecture(architecture: &str) -> Self {
        let (contents, tag, folder) = (Container::create(&[], &[]), Self::new(), TempDir::new());
        let layer = folder.0.join("layer.tar").display().to_string();
        docker(&["export", "--output", &layer, contents.id()]);
        let digest = output_of(Command::new("sha256sum").arg(&layer));
        let digest = digest.split(' ').next().unwrap();
        let (label, run) = (LABEL, run_id());
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Labels": {label: run}},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        });
        let manifest =
            json!([{"Config": "config.json", "RepoTags": [tag.name], "Layers": ["layer.tar"]}]);
        for (name, value) in [("config.json", config), ("manifest.json", manifest)] {
            fs::write(folder.0.join(name), value.to_string()).unwrap();
        }
        let files = ["manifest.json", "config.json", "layer.tar"];
        let archive = folder.0.join("image.tar");
        output_of(
            Command::new("tar").arg("-C").arg(&folder.0).arg("-cf").arg(&archive).args(files),
        );
        docker(&["load", "--input", &archive.display().to_string()]);
        tag
    }

    fn new() -> Self {
        Self { name: format!("highhock-test/copy:{}-{}", std::process::id(), unique()) }
    }

    /// Its name with its tag.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Removes the tag. The containers of the image keep running.
    #[track_caller]
    pub fn untag(&self) {
        docker(&["rmi", &self.name]);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // The tag may be removed already.
        let _ = Command::new("docker").args(["rmi", "-f", &self.name]).output();
    }
}

#[track_caller]
fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
