//! The layers of ARCHITECTURE.md: no import goes upward, and no files import each other.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod graph;
mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use graph::circles;
use imports::{Import, imports};

/// The source folders, each with the names by which its own files import from it.
const ROOTS: [(&str, &[&str]); 3] = [
    ("src", &["crate", "highhock"]),
    ("actors/src", &["crate", "highhock_actors"]),
    ("tests/support", &["crate::support", "super"]),
];

/// Modules that only declare others, or that all layers use.
const EXEMPT: [&str; 2] = ["lib", "mod"];

#[test]
fn no_import_goes_upward() {
    let mut upward = Vec::new();
    for (root, names) in ROOTS {
        let layers = layers(root);
        for import in read_imports(root, names) {
            let (from, to) = (top(&import.from), top(&import.to));
            if from == to || EXEMPT.contains(&from) || EXEMPT.contains(&to) {
                continue;
            }
            let layer = |module: &str| {
                *layers.get(module).unwrap_or_else(|| panic!("{root}: no layer lists {module:?}"))
            };
            if layer(from) >= layer(to) {
                upward.push(format!("{root}: {} imports {}", import.from, import.to));
            }
        }
    }
    assert!(upward.is_empty(), "imports of the same or a higher layer:\n{}", upward.join("\n"));
}

#[test]
fn no_files_import_each_other() {
    for (root, names) in ROOTS {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Import { from, to } in read_imports(root, names) {
            // A folder's module and the files below it are one unit: they share private parts.
            if !is_below(&from, &to) && !is_below(&to, &from) {
                graph.entry(from).or_default().insert(to);
            }
        }
        let circles = circles(&graph);
        assert!(circles.is_empty(), "{root}: files that import each other: {circles:#?}");
    }
}

#[test]
fn every_module_is_in_a_layer() {
    for (root, _) in ROOTS {
        let listed: BTreeSet<String> = layers(root).into_keys().collect();
        let mut present: BTreeSet<String> =
            source_files(root).iter().map(|file| top(file).to_owned()).collect();
        present.retain(|module| !EXEMPT.contains(&module.as_str()));
        assert_eq!(listed, present, "ARCHITECTURE.md lists other modules than {root} holds");
    }
}

/// The layer of each module of a source folder; 0 is the highest.
fn layers(root: &str) -> BTreeMap<String, usize> {
    let document = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let block = document.split("```layers\n").nth(1).unwrap().split("```").next().unwrap();
    let mut layers = BTreeMap::new();
    for (layer, line) in block.lines().enumerate() {
        let mut words = line.split_whitespace();
        if words.next() == Some(root) {
            layers.extend(words.map(|module| (module.to_owned(), layer)));
        }
    }
    assert!(!layers.is_empty(), "ARCHITECTURE.md has no layers for {root}");
    layers
}

fn read_imports(root: &str, names: &[&str]) -> Vec<Import> {
    let files = source_files(root);
    let modules: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    let mut all = Vec::new();
    for module in &files {
        let source = fs::read_to_string(path_of(root, module)).unwrap();
        all.extend(imports(&source, module, names, &modules));
    }
    assert!(all.len() > 10, "{root}: hardly any import was read");
    all
}

/// The modules of a source folder, as paths like `dns::answer`.
fn source_files(root: &str) -> Vec<String> {
    let mut modules = Vec::new();
    collect(&repository().join(root), "", &mut modules);
    modules.sort();
    modules
}

fn collect(folder: &Path, prefix: &str, modules: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let module = if prefix.is_empty() { stem.to_owned() } else { format!("{prefix}::{stem}") };
        if path.is_dir() {
            collect(&path, &module, modules);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            modules.push(match (stem, prefix.is_empty()) {
                ("mod", false) => prefix.to_owned(),
                _ => module,
            });
        }
    }
}

fn path_of(root: &str, module: &str) -> std::path::PathBuf {
    let base = repository().join(root).join(module.replace("::", "/"));
    let file = base.with_extension("rs");
    if file.exists() { file } else { base.join("mod.rs") }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap()
}

/// Returns `true` if `module` lies in the folder of `above`.
fn is_below(module: &str, above: &str) -> bool {
    module.strip_prefix(above).is_some_and(|rest| rest.starts_with("::"))
}
