//! The `highhock` program.

fn main() {}
