//! Guards P1 to P23 at one remove: the structure that their tests rely on. Reads the sources and holds
//! them to the rules of `docs/architecture.md`: who may import whom, how an actor file opens, who starts
//! actors, and what nobody does.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeSet;

use test_support::sources::{assert_none, code, files, read};

/// Who may know whom, and nothing else. A module is a folder or a file right below `src`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("lsn", &[]),
    ("error", &["lsn"]),
    // Time, threads, a thread that may block, and a System for programs without one.
    ("runtime", &["error"]),
    ("codec", &["error"]),
    ("format", &["error", "lsn"]),
    ("config", &["format", "error", "lsn"]),
    ("record", &["format", "lsn"]),
    ("status", &["error", "lsn"]),
    ("storage", &["error", "lsn"]),
    ("engine", &["format", "storage", "runtime", "record", "status", "config", "error", "lsn"]),
    // Plain data of the engine and the settings may stand in a message: decision 0006.
    ("messages", &["engine", "storage", "record", "status", "config", "error", "lsn"]),
    // A recovery opens the directory, and a Flusher hands the storage on to readers: decision 0006.
    (
        "actors",
        &["messages", "engine", "storage", "runtime", "record", "status", "config", "error", "lsn"],
    ),
    ("reader", &["engine", "record", "runtime", "error", "lsn"]),
    ("entrance", &["messages", "engine", "status", "config", "error", "lsn"]),
    ("hold", &["engine", "lsn"]),
    ("metrics", &["engine", "runtime", "status", "config", "error"]),
    ("outbox", &["entrance", "hold", "messages", "engine", "config", "error", "lsn"]),
    ("in_flight", &["outbox", "messages", "config", "error", "lsn"]),
    (
        "wal",
        &[
            "actors", "messages", "engine", "codec", "entrance", "hold", "outbox", "reader",
            "record", "status", "metrics", "runtime", "config", "error", "lsn",
        ],
    ),
    (
        "open",
        &[
            "actors", "messages", "engine", "storage", "wal", "metrics", "runtime", "config",
            "error", "lsn",
        ],
    ),
    ("inspect", &["engine", "format", "storage", "runtime", "record", "config", "error", "lsn"]),
    ("blocking", &["engine", "open", "wal", "record", "runtime", "error", "lsn"]),
    // The public parts: what a user could write outside of the crate.
    (
        "testkit",
        &[
            "messages", "engine", "actors", "wal", "storage", "config", "error", "lsn", "format",
            "runtime", "record", "status",
        ],
    ),
];

/// The lines that a file may have.
const LONGEST: usize = 650;

/// The lines that a function may have, from its `fn` to its closing brace.
const LONGEST_FUNCTION: usize = 70;

/// Counts the syncs of all engines in the comparison with the peers, in the place of the C library.
const MAY_BE_UNSAFE: &str = "benches/peers/src/syncs.rs";

/// The sources that the rules are about: without the tests that stand in files of their own, and the
/// suites that users' implementations are tested with.
fn sources() -> Vec<String> {
    let is_test = |path: &String| path.ends_with("/tests.rs") || path.ends_with("_contract.rs");
    files("src", ".rs").into_iter().filter(|path| !is_test(path)).collect()
}

/// The sources of all crates, with the tests in them.
fn all_sources() -> Vec<String> {
    let of_crates = files("crates", ".rs").into_iter().filter(|path| path.contains("/src/"));
    files("src", ".rs").into_iter().chain(of_crates).collect()
}

/// All that is written in Rust, but for this file, which names what is forbidden.
fn all_rust() -> Vec<String> {
    let folders = ["src", "crates", "examples", "benches", "tests"];
    let all = folders.iter().flat_map(|folder| files(folder, ".rs"));
    all.filter(|path| path != "tests/architecture.rs").collect()
}

/// `src/engine/read/cursor.rs` and `src/engine/mod.rs` are in `engine`, `src/lsn.rs` is `lsn`.
fn module(path: &str) -> &str {
    let inner = path.strip_prefix("src/").expect("a source");
    inner.split('/').next().unwrap_or(inner).trim_end_matches(".rs")
}

/// The modules that follow on `crate::`, also those in braces. A name that is not a module is one that
/// the root re-exports.
fn imported(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads_of_group(group)),
            None => found.extend(head(rest)),
        }
    }
    found
}

fn head(path: &str) -> Option<String> {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    (end > 0).then(|| path[..end].to_owned())
}

/// The first names of `a::b, c::{d, e}, f}` and so on: `a`, `c`, `f`.
fn heads_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut fresh) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                heads.extend(head(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// What a file breaks of the import rule.
fn import_faults(path: &str, text: &str) -> Vec<String> {
    let (module, code) = (module(path), code(text));
    let mut faults = Vec::new();
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: the module `{module}` has no line in the import rule")];
    };
    for name in imported(&code) {
        let is_module = MAY_IMPORT.iter().any(|(known, _)| *known == name);
        let is_public = !is_module && module == "testkit";
        if name == module || is_public || (is_module && allowed.contains(&name.as_str())) {
            continue;
        }
        let hint = if is_module { "may not know" } else { "imports by way of the root" };
        faults.push(format!("{path}: `{module}` {hint} `{name}`"));
    }
    // `super` must not lead out of the module.
    let climb = if path.matches('/').count() == 1 { "super::" } else { "super::super::" };
    if code.contains(climb) {
        faults.push(format!("{path}: `{climb}` leads out of `{module}`"));
    }
    faults
}

#[test]
fn every_module_knows_only_what_the_import_rule_allows() {
    let paths = sources();
    assert!(paths.len() > 30, "the sources were not found");
    let paths = paths.iter().filter(|path| *path != "src/lib.rs");
    assert_none(paths.flat_map(|path| import_faults(path, &read(path))).collect());
}

#[test]
fn the_import_rule_sees_groups_full_paths_and_climbing() {
    let path = "src/format/x.rs";
    let faults = |text: &str| import_faults(path, text);
    assert!(faults("use crate::lsn::Lsn;\nuse crate::{error::A, lsn::{B, C}};\n").is_empty());
    assert_eq!(faults("use crate::storage::Storage;").len(), 1);
    assert_eq!(faults("pub use crate::{lsn::Lsn, engine::{a, b}, wal::Wal};").len(), 2);
    assert_eq!(faults("fn f() { crate::engine::recovery::recover() }").len(), 1);
    assert_eq!(faults("use crate::Wal;").len(), 1, "not by way of the root either");
    assert_eq!(faults("use super::super::storage::Storage;").len(), 1);
    assert!(faults("// use crate::storage::Storage;").is_empty());
    assert!(faults("#[cfg(test)]\nmod tests { use crate::testkit::SimDisk; }").is_empty());
    assert_eq!(import_faults("src/lsn.rs", "use super::wal::Wal;").len(), 1);
    assert_eq!(import_faults("src/new/x.rs", "").len(), 1, "a new module needs a line");
}

#[test]
fn no_actor_knows_another_actor() {
    let actors: Vec<_> = actor_files().iter().map(|path| stem(path).to_owned()).collect();
    let mut faults = Vec::new();
    for path in files("src/actors", ".rs").iter().filter(|path| stem(path) != "mod") {
        let code = code(&read(path));
        for other in actors.iter().filter(|other| *other != stem(path)) {
            if code.contains(&format!("super::{other}")) || code.contains("crate::actors") {
                faults.push(format!("{path} knows the actor in {other}.rs"));
            }
        }
        if code.contains("Addr<") {
            faults.push(format!("{path} holds an `Addr`; actors hold `Recipient`s"));
        }
    }
    assert_none(faults);
}

fn stem(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// The files that define an actor.
fn actor_files() -> Vec<String> {
    sources().into_iter().filter(|path| code(&read(path)).contains("impl Actor for")).collect()
}

#[test]
fn every_actor_file_opens_with_its_role_what_it_owns_receives_sends_and_never_does() {
    let actors = actor_files();
    assert!(actors.len() >= 3, "the actors were not found");
    let mut faults = Vec::new();
    for path in actors {
        let text = read(&path);
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let mut from = 0;
        for word in ["//! Role: ", "//! Owns: ", "//! Receives: ", "//! Sends: ", "//! Never: "] {
            match head[from..].find(word) {
                Some(at) => from += at + word.len(),
                None => faults.push(format!("{path}: no `{word}` in its place")),
            }
        }
        if !text.starts_with("//! Role: ") {
            faults.push(format!("{path}: does not open with its role"));
        }
    }
    assert_none(faults);
}

#[test]
fn only_the_open_starts_actors() {
    let starts =
        ["Supervisor::start", "start_in_arbiter", ".start()", "start_default", "SyncArbiter"];
    let mut faults = Vec::new();
    for path in sources() {
        if path == "src/open.rs" || module(&path) == "testkit" {
            continue;
        }
        let code = code(&read(&path));
        let found = starts.iter().filter(|start| code.contains(**start));
        faults.extend(found.map(|start| format!("{path}: `{start}`")));
    }
    assert_none(faults);
}

/// With `do_send` nobody hears of the LSN, nor that there is none. `Submit` brings its answer along.
#[test]
fn nobody_sends_an_append_without_waiting_for_its_answer() {
    let mut faults = Vec::new();
    for path in all_rust() {
        let squeezed: String = code(&read(&path)).split_whitespace().collect();
        for message in ["Append{", "Append(", "AppendAll{", "Commit{", "append)", "commit)"] {
            if squeezed.contains(&format!("do_send({message}")) {
                faults.push(format!("{path}: `do_send({message}`"));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn no_file_is_longer_than_it_should_be() {
    let mut faults = Vec::new();
    for path in all_sources() {
        let lines = read(&path).lines().count();
        if lines > LONGEST {
            faults.push(format!("{path} has {lines} lines of at most {LONGEST}"));
        }
    }
    assert_none(faults);
}

/// The spaces that a line begins with.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Every function with a body: its name, its first line, and how many lines it has. The sources are as rustfmt leaves
/// them, so no line between stands as far to the left as the first one and the closing brace.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or(line);
        let Some((before, rest)) = code.split_once("fn ") else { continue };
        let starts = before.is_empty() || before.ends_with(' ');
        let Some(name) = head(rest).filter(|_| starts) else { continue };
        let ends = |next: &&str| indent(next) == indent(line) && next.ends_with(['}', ';']);
        let count = lines[at..].iter().position(ends);
        // A declaration ends with a semicolon, before any body.
        let count = count.filter(|count| lines[at + count].ends_with('}'));
        found.extend(count.map(|count| (name, at + 1, count + 1)));
    }
    found
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    for path in all_sources() {
        for (name, line, lines) in functions(&read(&path)) {
            seen += 1;
            if lines > LONGEST_FUNCTION {
                faults.push(format!("{path}:{line}: `{name}` has {lines} lines"));
            }
        }
    }
    assert!(seen > 1000, "only {seen} functions were found");
    assert_none(faults);
}

#[test]
fn a_function_is_measured_from_its_first_line_to_its_closing_brace() {
    let text = "\npub fn a(x: [u8; 3]) -> u8 {\n    if x {\n        '}'\n    }\n}\nfn b() {}\n";
    assert_eq!(functions(text), [("a".to_owned(), 2, 5), ("b".to_owned(), 7, 1)]);
    let taken_apart = "    fn a(&mut self, One { x }: One) {\n        x\n    }\n";
    assert_eq!(functions(taken_apart), [("a".to_owned(), 1, 3)]);
    let declared = "trait T {\n    fn near(&self);\n    fn far(\n        x: u8,\n    ) -> u8;\n";
    let given = "    fn given(\n        x: u8,\n    ) where\n        u8: Copy,\n    {\n        x()\n    }\n}\n";
    assert_eq!(functions(&[declared, given].concat()), [("given".to_owned(), 6, 7)]);
    assert_eq!(functions("/// `fn gone() {}`\n// fn gone() {}\nlet x: fn(u8) = y;\n"), []);
    let long = format!("fn f() {{\n{}}}\n", "    x();\n".repeat(LONGEST_FUNCTION - 1));
    assert_eq!(functions(&long)[0].2, LONGEST_FUNCTION + 1);
}

#[test]
fn nothing_is_unsafe_and_nothing_is_left_to_do() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    let mut faults = Vec::new();
    for path in all_rust() {
        for (at, line) in read(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            let mut code = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            let is_unsafe = path != MAY_BE_UNSAFE && code.any(|word| word == "unsafe");
            let words = ["todo!", "unimplemented!", "FIXME", "XXX", "TODO"];
            if is_unsafe || words.iter().any(|word| line.contains(word)) {
                faults.push(format!("{path}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    assert_none(faults);
}
