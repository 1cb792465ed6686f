//! The files of this repository, for tests that hold its architecture and its pages to what they say.

#![allow(dead_code)] // Every test that includes this file uses a part of it.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A text file of the repository, by its path from the root.
pub fn read(path: &str) -> String {
    let full = root().join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

/// All files below a folder that end like this, as paths from the root, in order. A folder that is not
/// there has none.
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root().join(folder), ending, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path: PathBuf = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            let from_root = path.strip_prefix(root()).expect("below the root");
            found.push(from_root.to_string_lossy().replace('\\', "/"));
        }
    }
}

/// The file without its comments, and without its inline tests: what architecture rules are about.
/// Lines keep their numbers.
pub fn code(text: &str) -> String {
    let is_test_module = |at: &usize| {
        let next = text[*at..].lines().nth(1).unwrap_or_default();
        next.contains("mod ") && next.contains('{')
    };
    let mut marked = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at);
    let tests = marked.find(is_test_module).unwrap_or(text.len());
    let uncommented = text[..tests].lines().map(|line| match line.find("//") {
        // A `//` behind a colon is an address in a string.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    uncommented.collect::<Vec<_>>().join("\n")
}
