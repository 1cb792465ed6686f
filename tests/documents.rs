//! Guards P1 to P23 at one remove: what the pages say about them. Files, tests and commands that a page
//! names exist, links lead somewhere, and the first screen of the README is what it is meant to be.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeSet;

use test_support::sources::{assert_none, files, quoted, read, root, table, tests_in};

fn pages() -> Vec<String> {
    let mut pages = files("docs", ".md");
    let more = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "controls/README.md"];
    pages.extend(more.map(str::to_owned));
    pages
}

/// The page without what stands in fenced blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// Fenced blocks: what stands behind the backticks, and the lines.
fn blocks(page: &str) -> Vec<(&str, Vec<&str>)> {
    let fenced = page.split("```").skip(1).step_by(2);
    fenced
        .map(|block| {
            let (language, text) = block.split_once('\n').unwrap_or((block, ""));
            (language, text.lines().collect())
        })
        .collect()
}

/// Where the links of a page lead: `[text](target)`.
fn links(page: &str) -> Vec<String> {
    let prose = prose(page);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// The anchor that a heading gets, as on the pages of code hosts.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    prose(page).lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// A path that is relative to the folder of a page, as one from the root.
fn from_root(page: &str, target: &str) -> String {
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text).iter().filter(|link| !link.starts_with("https://")) {
            let (target, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { page.clone() } else { from_root(&page, target) };
            if !root().join(&target).exists() {
                faults.push(format!("{page}: {link} leads to nothing"));
            } else if !fragment.is_empty() && !anchors(&read(&target)).contains(fragment) {
                faults.push(format!("{page}: {target} has no heading for #{fragment}"));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn links_and_anchors_are_read_as_they_are_meant() {
    assert_eq!(links("see [a](b.md#c), [d](e)\n```\n[x](y)\n```\n"), ["b.md#c", "e"]);
    assert_eq!(anchor("## What it does not promise"), "what-it-does-not-promise");
    assert_eq!(anchor("## Challenges, and `what` was done"), "challenges-and-what-was-done");
    assert_eq!(from_root("docs/decisions/1.md", "../../src/lib.rs"), "src/lib.rs");
}

/// What is wrong with something that a page names in backticks: a file, `file::test`, or a command.
fn named_fault(name: &str) -> Option<String> {
    let (path, test) =
        name.split_once("::").map_or((name, None), |(path, test)| (path, Some(test)));
    if name.starts_with("cargo ") {
        return None;
    }
    if !root().join(path).exists() {
        return Some(format!("`{name}`: there is no {path}"));
    }
    let test = test?;
    let known = tests_in(&read(path)).iter().any(|known| known == test);
    (!known).then(|| format!("`{name}`: there is no such test"))
}

#[test]
fn every_requirement_has_its_row_and_what_it_names_exists() {
    let rows = table(&read("docs/requirements.md"));
    let ids: Vec<_> = rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(ids, (1..=26).map(|id| format!("R{id}")).collect::<Vec<_>>());
    let mut faults = Vec::new();
    for row in &rows {
        let (id, when, met_by) = (&row[0], &row[2], &row[3]);
        let names = quoted(met_by);
        faults.extend(
            names.iter().filter_map(|name| named_fault(name)).map(|fault| format!("{id}: {fault}")),
        );
        let is_open = met_by.contains("open");
        if names.is_empty() && !is_open {
            faults.push(format!("{id}: nothing meets it, and it is not open"));
        }
        if is_open && when == "the log" {
            faults.push(format!("{id}: it is open, but not for later"));
        }
    }
    assert_none(faults);
}

#[test]
fn the_first_screen_of_the_readme_is_two_sentences_two_commands_and_fifteen_lines() {
    let readme = read("README.md");
    let screen = &readme[..readme.find("\n## ").expect("a second heading")];
    assert!(screen.lines().count() <= 32, "it does not fit a screen");
    let text = prose(screen);
    let text = text.trim().strip_prefix("# actix-wal").expect("the name").trim();
    let sentences = text.split(['.', '!', '?']).filter(|part| !part.trim().is_empty()).count();
    assert_eq!(sentences, 2, "{text}");
    let [(shell, commands), (rust, api)] = &blocks(screen)[..] else {
        panic!("two blocks: the commands, and the API");
    };
    assert_eq!((*shell, *rust), ("sh", "rust"));
    assert_eq!(commands, &["cargo run --release --example quickstart", "cargo test"]);
    assert_eq!(api.len(), 15);
    assert!(!text.contains("cargo"), "no other command");
    assert!(readme[screen.len()..].starts_with("\n## The map of the code"));
    assert!(read("src/lib.rs").contains("#![doc = include_str!(\"../README.md\")]"));
}

#[test]
fn the_map_of_the_code_shows_every_module_and_every_example_is_listed() {
    let readme = read("README.md");
    let mut faults = Vec::new();
    let modules = files("src", ".rs").into_iter().filter_map(|path| {
        let inner = path.strip_prefix("src/")?.to_owned();
        Some(inner.split_once('/').map_or(inner.clone(), |(folder, _)| format!("{folder}/")))
    });
    let known = ["lib.rs", "read_stream.rs"];
    for module in modules.collect::<BTreeSet<_>>() {
        if !known.contains(&module.as_str()) && !readme.contains(&format!("(src/{module}")) {
            faults.push(format!("the map does not show src/{module}"));
        }
    }
    let section = readme.split("## Examples").nth(1).unwrap_or_default();
    let listed: BTreeSet<_> =
        table(section).iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let there = files("examples", ".rs").into_iter().filter_map(|path| {
        let inner = path.strip_prefix("examples/")?.to_owned();
        let name = inner.split('/').next()?.trim_end_matches(".rs").to_owned();
        Some(name)
    });
    let there: BTreeSet<_> = there.collect();
    faults.extend(listed.difference(&there).map(|name| format!("there is no example {name}")));
    faults
        .extend(there.difference(&listed).map(|name| format!("the example {name} is not listed")));
    assert_none(faults);
}

#[test]
fn every_decision_has_its_parts_and_is_linked_from_the_architecture() {
    let architecture = read("docs/architecture.md");
    let pages = files("docs/decisions", ".md");
    assert!(pages.len() >= 14);
    let mut faults = Vec::new();
    for (at, page) in pages.iter().enumerate() {
        let text = read(page);
        let name = page.rsplit('/').next().unwrap_or(page);
        let number = format!("{:04}", at + 1);
        if !name.starts_with(&number) || !text.starts_with(&format!("# {number} ")) {
            faults
                .push(format!("{page}: it should be number {number}, in its name and its heading"));
        }
        for part in ["**Context.**", "**Decision.**", "**Consequences.**", "**Alternatives.**"] {
            if !text.contains(part) {
                faults.push(format!("{page}: no {part}"));
            }
        }
        if text.lines().count() > 60 {
            faults.push(format!("{page}: longer than a page"));
        }
        if !architecture.contains(&format!("(decisions/{name})")) {
            faults.push(format!("{page}: docs/architecture.md does not link to it"));
        }
    }
    assert_none(faults);
}

#[test]
fn the_changelog_knows_this_version_and_this_format() {
    let changelog = read("CHANGELOG.md");
    let mut version = env!("CARGO_PKG_VERSION").rsplitn(2, '.');
    let minor = version.nth(1).expect("major and minor");
    let rows = table(&changelog);
    let row = rows.iter().find(|row| row[0] == minor).expect("a row for this version");
    assert_eq!(row[1], actix_wal::testkit::internals::format::FORMAT_VERSION.to_string());
    assert!(changelog.contains("## [Unreleased]"));
}

#[test]
fn ci_is_one_command_and_takes_the_test_command_from_the_readme() {
    let ci = read(".ci/run");
    assert!(ci.starts_with("#!/usr/bin/env bash\n") && ci.contains("set -euo pipefail"));
    assert!(ci.ends_with("\nexec cargo --locked xtask ci \"$@\"\n"));
    assert!(ci.lines().count() <= 30, "steps stand in crates/xtask");
    assert!(read("crates/xtask/src/ci/steps.rs").contains("README.md"));
    assert!(read(".github/workflows/ci.yml").contains("run: .ci/run"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = root().join(".ci/run").metadata().expect(".ci/run").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, ".ci/run can be executed");
    }
}

#[test]
fn no_task_needs_python() {
    let mut tasks = files("crates/xtask", ".rs");
    tasks.extend([".ci/run", ".github/workflows/ci.yml", "fuzz/run"].map(str::to_owned));
    assert!(tasks.len() > 10, "the tasks were not found");
    // What it installs is a client that the server is tested with.
    tasks.retain(|task| task != "crates/xtask/src/ci/tools.rs");
    let guilty = tasks.iter().filter(|task| read(task).to_lowercase().contains("python"));
    assert_none(guilty.map(|task| format!("{task} names Python")).collect());
}
