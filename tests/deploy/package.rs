//! The Debian package that cargo-deb builds from Cargo.toml.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::TempDir;
use crate::support::tools::tool;
use crate::{file, run, run_successfully};

const UNIT: &str = "/usr/lib/systemd/system/highhock.service";

/// `[package.metadata.deb]`.
fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output_text = cargo.current_dir(file("")).output().unwrap().stdout;
    let workspace: Value = serde_json::from_slice(&output_text).unwrap();
    let packages = workspace["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "highhock").unwrap();
    package["metadata"]["deb"].clone()
}

#[test]
fn every_packaged_file_exists() {
    let metadata = metadata();
    let assets = metadata["assets"].as_array().expect("assets");
    let sources = assets.iter().map(|asset| asset[0].as_str().unwrap());
    // The program itself is built by cargo.
    let sources = sources.filter(|source| !source.starts_with("target/release/"));
    let missing: Vec<_> = sources.filter(|source| !file(source).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let units = file(metadata["systemd-units"]["unit-scripts"].as_str().unwrap());
    assert!(units.join("highhock.service").exists(), "{}", units.display());
}

#[test]
fn bash_loads_completions_on_demand() {
    let program = Path::new(env!("CARGO_BIN_EXE_highhock")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", ". \"$0\" && complete -p highhock"]);
    let output_text =
        run_successfully(bash.arg(file("deploy/completions/highhock.bash")).env("PATH", path));
    assert!(output_text.contains("_highhock"), "{output_text}");
}

/// The package with the program that cargo built for the tests.
fn package(folder: &TempDir) -> Option<PathBuf> {
    let cargo_deb = tool("CARGO_DEB")?;
    let target = folder.0.join("target");
    fs::create_dir_all(target.join("release")).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_highhock"), target.join("release/highhock")).unwrap();
    let package = folder.0.join("highhock.deb");
    let mut make = Command::new(cargo_deb);
    make.args(["--no-build", "--fast", "--offline", "--locked", "--output"]).arg(&package);
    run_successfully(make.env("CARGO_TARGET_DIR", &target).current_dir(file("")));
    Some(package)
}

/// The modes and owners of the package's files, by path.
fn contents(package: &Path) -> BTreeMap<String, String> {
    let listing = run_successfully(Command::new("dpkg-deb").arg("--contents").arg(package));
    let row = |line: &str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        (columns[5].trim_start_matches('.').to_owned(), format!("{} {}", columns[0], columns[1]))
    };
    listing.lines().map(row).collect()
}

#[test]
#[ignore = "takes cargo-deb, which takes minutes to build: tests/run --long"]
fn package_contains_the_service_files() {
    let folder = TempDir::new();
    let Some(package) = package(&folder) else { return };
    let contents = contents(&package);
    for (path, mode) in [
        ("/usr/bin/highhock", "-rwxr-xr-x 0/0"),
        ("/etc/highhock.json", "-rw-r--r-- 0/0"),
        (UNIT, "-rw-r--r-- 0/0"),
        ("/usr/lib/sysusers.d/highhock.conf", "-rw-r--r-- 0/0"),
        ("/usr/share/bash-completion/completions/highhock", "-rw-r--r-- 0/0"),
        ("/usr/share/fish/vendor_completions.d/highhock.fish", "-rw-r--r-- 0/0"),
        ("/usr/share/zsh/vendor-completions/_highhock", "-rw-r--r-- 0/0"),
        ("/usr/share/doc/highhock/copyright", "-rw-r--r-- 0/0"),
        ("/usr/share/doc/highhock/examples/alerts.yaml", "-rw-r--r-- 0/0"),
    ] {
        assert_eq!(contents.get(path).map(String::as_str), Some(mode), "{path} in {contents:#?}");
    }

    let control = folder.0.join("control");
    run_successfully(Command::new("dpkg-deb").arg("--control").arg(&package).arg(&control));
    let read = |name: &str| fs::read_to_string(control.join(name)).unwrap();
    assert_eq!(read("conffiles").trim(), "/etc/highhock.json");
    let about = read("control");
    assert!(about.contains("\nDepends: ") && about.contains("libc6 ("), "{about}");
    for output_text in ["systemd-sysusers", "highhock.service"] {
        assert!(read("postinst").contains(output_text), "{}", read("postinst"));
    }
}

/// Unpacks into a folder, because the maintainer scripts expect a whole system. Checks that the
/// program runs.
#[test]
#[ignore = "takes cargo-deb, which takes minutes to build: tests/run --long"]
fn dpkg_can_unpack_the_package() {
    let folder = TempDir::new();
    let Some(package) = package(&folder) else { return };
    let root = folder.0.join("root");
    for path in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "var/lib/dpkg/triggers"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display())).args(["--force-depends", "--unpack"]);
    run_successfully(dpkg.arg(&package));
    let (succeeded, output_text) =
        run(Command::new(root.join("usr/bin/highhock")).arg("--version"));
    assert!(succeeded && output_text.contains(env!("CARGO_PKG_VERSION")), "{output_text}");
    assert!(root.join("etc/highhock.json.dpkg-new").exists(), "the configuration");
}
