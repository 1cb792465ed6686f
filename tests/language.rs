//! Guards P1 to P23 at one remove: the language that says them. Pages, comments and error texts use plain English: idioms that a
//! reader has to translate first may become fewer, and never more.
//!
//! `tests/language/baseline.txt` says how many each file has. A file may have fewer, and no file may have more.
//!
//! ```text
//! UPDATE_LANGUAGE=1 cargo test --test language    lowers the baseline, or follows a file that has moved
//! ```
//!
//! A page that is about such a word puts it into backticks. A line that is right as it stands, such as a quotation,
//! says `language: allow`.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;
use std::fs;

use test_support::sources::{files, read, root};

const BASELINE: &str = "tests/language/baseline.txt";

/// The way out.
const ALLOW: &str = "language: allow";

/// An idiom, and what to write instead. A word in an idiom may have several forms.
const IDIOMS: &[(&str, &str)] = &[
    ("whoever", "name the part that does it"),
    ("nobody who", "name the part that does not do it"),
    ("who is|are told", "is notified"),
    ("tell|tells|told of", "notify, or show"),
    ("hear|hears|heard|hearing", "is notified"),
    ("for ever", "forever"),
    ("anew", "again"),
    ("at one go", "at once"),
    ("at the least", "at least"),
    ("for want of", "because there is no"),
    ("how-manieth", "the index, or the number"),
    ("ride|rides|riding along", "is delivered with"),
    ("come|comes|came|coming for", "drains"),
    ("comes|came of it", "the result"),
    ("let|lets|letting go of", "frees, or releases"),
    ("by the piece", "per operation"),
    ("of his own", "of its own"),
    ("in the place of", "instead of"),
    ("see|sees to it", "ensures"),
];

/// The files that are for people.
fn texts() -> Vec<String> {
    let mut texts =
        vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "CHANGELOG.md".to_owned()];
    texts.extend(["docs", "controls"].iter().flat_map(|folder| files(folder, ".md")));
    let folders = ["src", "tests", "examples", "benches", "crates", "fuzz"];
    texts.extend(folders.iter().flat_map(|folder| files(folder, ".rs")));
    texts.retain(|path| path != "tests/language.rs" && root().join(path).exists());
    texts
}

/// The words of a text with their lines, so that an idiom is found also where a line ends within it. The end of a
/// sentence stays with its word.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.contains(ALLOW)) {
        let marks = ["//!", "///", "//", ">", "-", "*", "|"];
        let line = line.trim_start();
        let line = marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line);
        let opening = ['"', '(', '[', '*', '_'];
        let each = line.split_whitespace().map(|word| word.trim_start_matches(opening));
        words.extend(each.map(|word| (at + 1, word.to_lowercase())));
    }
    words
}

/// Where the words say an idiom: at which one it begins.
fn finds(words: &[(usize, String)], idiom: &str) -> Vec<usize> {
    let idiom: Vec<Vec<&str>> = idiom.split(' ').map(|word| word.split('|').collect()).collect();
    let says = |window: &&[(usize, String)]| {
        let last = window.len() - 1;
        window.iter().zip(&idiom).enumerate().all(|(at, ((_, word), forms))| {
            let end = |c: char| !c.is_alphanumeric() && c != '`' && c != '_';
            let word = if at == last { word.trim_end_matches(end) } else { word };
            forms.contains(&word)
        })
    };
    let windows = words.windows(idiom.len());
    windows.filter(says).map(|window| window[0].0).collect()
}

/// Every idiom of a text, with its line.
fn idioms(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let of = |(idiom, plain): &(&'static str, &'static str)| {
        let (idiom, plain) = (*idiom, *plain);
        finds(&words, idiom).into_iter().map(move |line| (line, idiom, plain)).collect::<Vec<_>>()
    };
    let mut found: Vec<_> = IDIOMS.iter().flat_map(of).collect();
    found.sort_unstable();
    found
}

/// Each file that has idioms, and how many.
type Counts = BTreeMap<String, usize>;

fn parse(baseline: &str) -> Counts {
    let row = |line: &str| -> Option<(String, usize)> {
        let (count, path) = line.split_once(' ')?;
        Some((path.to_owned(), count.parse().ok()?))
    };
    baseline.lines().map(|line| row(line).expect("a count and a path")).collect()
}

/// The new baseline, or why there can be none: what it allows in all may only fall.
fn lowered(known: &Counts, now: &Counts) -> Result<String, String> {
    let (before, after): (usize, usize) = (known.values().sum(), now.values().sum());
    if after > before {
        return Err(format!("{before} idioms have become {after}: rewrite the new ones"));
    }
    Ok(now.iter().map(|(path, count)| format!("{count} {path}\n")).collect())
}

#[test]
fn no_text_has_more_banned_idioms_than_it_had() {
    let found: BTreeMap<_, _> = texts()
        .into_iter()
        .map(|path| {
            let found = idioms(&read(&path));
            (path, found)
        })
        .collect();
    assert!(found.len() > 100, "the texts were not found");
    let now: Counts = found.iter().map(|(path, found)| (path.clone(), found.len())).collect();
    let now: Counts = now.into_iter().filter(|(_, count)| *count > 0).collect();
    let known = parse(&read(BASELINE));
    if std::env::var_os("UPDATE_LANGUAGE").is_some() {
        let lowered = lowered(&known, &now).unwrap_or_else(|why| panic!("{why}"));
        return fs::write(root().join(BASELINE), lowered).expect("the baseline is written");
    }
    let mut faults = Vec::new();
    for (path, count) in &now {
        let allowed = known.get(path).copied().unwrap_or_default();
        if *count > allowed {
            faults.push(format!("{path}: {count} idioms, at most {allowed}; one of these is new:"));
            let line = |(line, idiom, plain): &(usize, &str, &str)| {
                format!("    {path}:{line}: \"{idiom}\": {plain}")
            };
            faults.extend(found[path].iter().map(line));
        }
    }
    assert!(
        faults.is_empty(),
        "\n{}\nRewrite it. If a file has only moved: UPDATE_LANGUAGE=1 cargo test --test language",
        faults.join("\n")
    );
}

#[test]
fn an_idiom_is_found_in_any_form_over_lines_and_before_a_stop() {
    let found = |text: &str| idioms(text).into_iter().map(|(line, ..)| line).collect::<Vec<_>>();
    assert_eq!(found("Whoever waits"), [1]);
    assert_eq!(found("// what comes in\n/// rides\n/// along.\n"), [2]);
    assert_eq!(found("waits for ever; and\nlet go of."), [1, 2]);
    assert_eq!(found("* \"whoever\" and (anew)"), [1, 1]);
}

#[test]
fn a_word_in_backticks_a_name_and_an_allowed_line_are_no_idiom() {
    for text in [
        "the word `whoever` is banned",
        "fn nobody_waits_for_ever() {}",
        "whoever said this // language: allow",
        "it comes, for once",
        "how many records",
    ] {
        assert_eq!(idioms(text), [], "{text}");
    }
}

#[test]
fn the_baseline_falls_and_follows_files_but_never_rises() {
    let counts = |rows: &[(&str, usize)]| -> Counts {
        rows.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect()
    };
    let known = counts(&[("a.rs", 3), ("b.rs", 1)]);
    assert_eq!(lowered(&known, &counts(&[("a.rs", 2)])).as_deref(), Ok("2 a.rs\n"));
    let moved = lowered(&known, &counts(&[("b.rs", 1), ("c.rs", 3)]));
    assert_eq!(moved.as_deref(), Ok("1 b.rs\n3 c.rs\n"));
    assert_eq!(parse(&moved.expect("a baseline")), counts(&[("b.rs", 1), ("c.rs", 3)]));
    assert!(lowered(&known, &counts(&[("a.rs", 5)])).is_err());
}
