//! The imports of a source file, read from its syntax tree.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, Meta, Path, UseTree};

/// A file that imports another of the same source folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// The importing module, like `dns::answer`.
    pub from: String,
    /// The imported module.
    pub to: String,
}

/// Reads the imports of `module`. `names` are the paths that stand for the source folder.
/// Code for tests is left out.
pub fn imports(
    source: &str,
    module: &str,
    names: &[&str],
    modules: &BTreeSet<&str>,
) -> Vec<Import> {
    let file = syn::parse_file(source).expect("the file compiles, so it parses");
    let mut reader = Reader { paths: BTreeSet::new() };
    reader.visit_file(&file);
    let mut imports = BTreeSet::new();
    for path in reader.paths {
        let Some(inside) = inside(&path, module, names, modules) else { continue };
        let Some(to) = longest_module(&inside, modules) else { continue };
        if to != module {
            imports.insert(Import { from: module.to_owned(), to });
        }
    }
    imports.into_iter().collect()
}

/// A path as it is written, with the source folder's own name taken off.
fn inside(path: &str, module: &str, names: &[&str], modules: &BTreeSet<&str>) -> Option<String> {
    for name in names {
        if let Some(rest) = path.strip_prefix(name).and_then(|rest| rest.strip_prefix("::")) {
            return Some(rest.to_owned());
        }
    }
    let mut above: Vec<&str> = module.split("::").collect();
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix("super::") {
        above.pop();
        rest = shorter;
    }
    rest = rest.strip_prefix("self::").unwrap_or(rest);
    // A path that begins with neither names a child module, or something from elsewhere.
    let child = format!("{module}::{}", rest.split("::").next()?);
    if rest.len() == path.len() && !modules.contains(child.as_str()) {
        return None;
    }
    above.push(rest);
    Some(above.join("::"))
}

fn longest_module(path: &str, modules: &BTreeSet<&str>) -> Option<String> {
    let mut prefix = path;
    loop {
        if modules.contains(prefix) {
            return Some(prefix.to_owned());
        }
        prefix = prefix.rsplit_once("::")?.0;
    }
}

struct Reader {
    paths: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_for_tests(&item.attrs) {
            flatten(&item.tree, "", &mut self.paths);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.paths.insert(segments.join("::"));
        }
        visit::visit_path(self, path);
    }
}

fn flatten(tree: &UseTree, prefix: &str, paths: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &format!("{prefix}{}::", path.ident), paths),
        UseTree::Name(name) if name.ident == "self" => {
            paths.insert(prefix.trim_end_matches("::").to_owned());
        }
        UseTree::Name(name) => {
            paths.insert(format!("{prefix}{}", name.ident));
        }
        UseTree::Rename(rename) => {
            paths.insert(format!("{prefix}{}", rename.ident));
        }
        UseTree::Glob(_) => {
            paths.insert(format!("{prefix}*"));
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, paths);
            }
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(&attribute.meta, Meta::List(list)
            if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_import() {
        let source = "
            use crate::b::Item;
            use super::c::{self, d::Item as Other};
            use std::fmt;
            #[cfg(test)]
            use crate::hidden::Item;
            fn f() { crate::e::run(); child::run(); }
            #[cfg(test)]
            mod tests { use crate::hidden::Item; }
        ";
        let modules = ["a", "a::x", "a::c", "a::c::d", "b", "e", "a::x::child", "hidden"];
        let found = imports(source, "a::x", &["crate"], &modules.into_iter().collect());
        let to: Vec<&str> = found.iter().map(|import| import.to.as_str()).collect();
        assert_eq!(to, ["a::c", "a::c::d", "a::x::child", "b", "e"]);
    }
}
