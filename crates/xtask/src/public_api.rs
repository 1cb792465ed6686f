//! `cargo xtask public-api`: the public API as a text that is checked in, so that each change of it shows in the
//! diff of its commit.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::shell::{self, Shell, read};

/// Where the listing is, from the root.
const LISTING: &str = "docs/public-api.txt";

/// The version of rustdoc's JSON that the crate `public-api` is known to read here.
const FORMATS: std::ops::RangeInclusive<u32> = 56..=57;

/// Whether to write the listing.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write a new listing instead of comparing it.
    #[arg(long)]
    pub(crate) update: bool,
}

/// Lists the API of the log with all features, and compares it with what is checked in.
pub(crate) fn run(shell: &Shell, is_update: bool) -> Result<()> {
    let listing = list(shell)?;
    let file = shell.root().join(LISTING);
    println!("{}", Count::of(&listing).text());
    if is_update {
        return fs::write(&file, listing).with_context(|| format!("writing {LISTING}"));
    }
    let known = fs::read_to_string(&file).with_context(|| format!("reading {LISTING}"))?;
    let changes = changes(&known, &listing);
    if !changes.is_empty() {
        changes.iter().for_each(|change| println!("{change}"));
        bail!(
            "the public API is not that of {LISTING} ({} lines differ); if that is meant: \
             cargo xtask public-api --update",
            changes.len()
        );
    }
    Ok(())
}

/// What is read of rustdoc's output before the rest of it can be trusted.
#[derive(Debug, Deserialize)]
struct Head {
    format_version: u32,
}

/// One public item a line, in order.
fn list(shell: &Shell) -> Result<String> {
    let mut rustdoc =
        shell.cargo(&["rustdoc", "--package", "actix-wal", "--lib", "--all-features"]);
    rustdoc.args(["--locked", "--", "-Z", "unstable-options", "--output-format", "json"]);
    shell::run(rustdoc.env("RUSTDOC", unstable_rustdoc(shell)?))?;
    let json = shell.target().join("doc/actix_wal.json");
    let text = fs::read_to_string(&json).with_context(|| format!("reading {}", json.display()))?;
    let Head { format_version } = serde_json::from_str(&text).context("the head of the JSON")?;
    let rustc = read(shell.command("rustc").arg("--version"))?;
    ensure!(
        FORMATS.contains(&format_version),
        "{} writes format {format_version} and this task reads {FORMATS:?}: take the version of \
         `public-api` in crates/xtask/Cargo.toml that reads it, and set FORMATS; until then: \
         cargo +1.95.0 xtask public-api",
        rustc.trim()
    );
    let builder = public_api::Builder::from_rustdoc_json(&json);
    let builder = builder.omit_blanket_impls(true).omit_auto_trait_impls(true);
    let api = builder.omit_auto_derived_impls(true).build().context("reading the JSON")?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

/// A script that lets the stable rustdoc write its JSON, which is unstable. In the environment of cargo the variable
/// would make it rebuild all that the log depends on, and once more at the next step.
fn unstable_rustdoc(shell: &Shell) -> Result<PathBuf> {
    let script = shell.target().join("tmp/unstable-rustdoc");
    fs::create_dir_all(shell.target().join("tmp"))?;
    fs::write(&script, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// Lines of one text that the other does not have.
fn changes(known: &str, now: &str) -> Vec<String> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (known.lines().collect(), now.lines().collect());
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let mut changes: Vec<_> =
        gone.chain(new.difference(&old).map(|line| format!("+ {line}"))).collect();
    if changes.is_empty() && known != now {
        changes.push("the same lines, in another order or number".to_owned());
    }
    changes
}

/// What a user has to know by name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    lines: usize,
    modules: usize,
    /// Types, traits, functions, constants and macros that stand in a module: no methods, fields or variants.
    names: usize,
    /// Those below `testkit`, which is for tests.
    of_testkit: usize,
}

impl Count {
    fn of(listing: &str) -> Self {
        let items: Vec<_> = listing.lines().filter_map(item).collect();
        let paths = items.iter().filter(|(kind, _)| *kind == "mod").map(|(_, path)| path.as_str());
        let modules: BTreeSet<_> = paths.collect();
        let stands_in_a_module = |(kind, path): &&(&str, String)| {
            *kind != "mod" && path.rsplit_once("::").is_some_and(|(at, _)| modules.contains(at))
        };
        let names: BTreeSet<_> = items.iter().filter(stands_in_a_module).collect();
        let is_testkit = |(_, path): &&&(&str, String)| path.starts_with("actix_wal::testkit::");
        Count {
            lines: listing.lines().count(),
            modules: modules.len(),
            of_testkit: names.iter().filter(is_testkit).count(),
            names: names.len(),
        }
    }

    fn text(&self) -> String {
        format!(
            "public API: {} names without `testkit` and {} in it, in {} modules; {} lines",
            self.names - self.of_testkit,
            self.of_testkit,
            self.modules,
            self.lines
        )
    }
}

/// The kind and the path of an item: `pub fn a::S<T>::f(x: a::X)` is `("fn", "a::S::f")`. An `impl` is no item of its
/// own, and neither is a field or a variant.
fn item(line: &str) -> Option<(&str, String)> {
    let at = line.find("pub ").filter(|at| *at == 0 || line.starts_with("#["))?;
    let mut rest = &line[at + "pub ".len()..];
    let mut kind = None;
    while let Some((word, behind)) = rest.split_once(' ') {
        if !KINDS.contains(&word) {
            break;
        }
        // `const` and `fn` of a `const fn`: the last one says what it is.
        (kind, rest) = (Some(word), behind);
    }
    Some((kind?, path(rest)))
}

/// The path that a text begins with, without its type parameters.
fn path(text: &str) -> String {
    let (mut path, mut depth) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ if depth > 0 => {}
            c if c.is_alphanumeric() || c == '_' || c == ':' => path.push(c),
            _ => break,
        }
    }
    path.trim_end_matches(':').to_owned()
}

/// What may stand between `pub` and the path. The log has no items that are declared otherwise.
const KINDS: &[&str] = &[
    "async", "const", "dyn", "enum", "extern", "fn", "macro", "mod", "static", "struct", "trait",
    "type", "union", "use",
];

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "pub mod actix_wal
pub mod actix_wal::testkit
#[non_exhaustive] pub enum actix_wal::E
pub actix_wal::E::One
pub struct actix_wal::S<T>
pub actix_wal::S::field: u64
impl<T> actix_wal::S<T>
pub const fn actix_wal::S<T>::new(of: actix_wal::E) -> Self
pub const actix_wal::LIMIT: usize
pub async fn actix_wal::run()
pub fn actix_wal::testkit::check()
";

    #[test]
    fn names_stand_in_modules_and_methods_fields_and_variants_do_not_count() {
        let count = Count::of(LISTING);
        assert_eq!(count, Count { lines: 11, modules: 2, names: 5, of_testkit: 1 });
    }

    #[test]
    fn an_item_is_read_with_its_kind_and_its_path() {
        let read = |line| item(line).map(|(kind, path)| format!("{kind} {path}"));
        assert_eq!(read("pub const fn a::S<T>::new()").unwrap(), "fn a::S::new");
        assert_eq!(read("pub const a::LIMIT: usize").unwrap(), "const a::LIMIT");
        assert_eq!(read("#[non_exhaustive] pub enum a::E").unwrap(), "enum a::E");
        assert_eq!(item("impl a::S"), None);
        assert_eq!(item("pub a::S::field: u64"), None);
    }

    #[test]
    fn a_line_more_and_a_line_less_are_both_changes() {
        assert!(changes(LISTING, LISTING).is_empty());
        let other = LISTING.replace("async ", "");
        assert_eq!(
            changes(LISTING, &other),
            ["- pub async fn actix_wal::run()", "+ pub fn actix_wal::run()"]
        );
    }
}
