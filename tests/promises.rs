//! Guards P1 to P25: every promise has a test, and `docs/promises.md` says which. What is named there
//! exists, and every test that says that it guards a promise is named.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use test_support::sources::{assert_none, files, head, quoted, read, root, table, tests_in};

const PAGE: &str = "docs/promises.md";

const FIRST: u32 = 1;
const LAST: u32 = 25;

/// Where the tests of promises are.
const PLACES: [&str; 5] = [
    "src",
    "tests",
    "crates/actix-wal-txn/src",
    "crates/actix-wal-txn/tests",
    "crates/walctl/tests",
];

/// The numbers that follow on a `P` in the sentence in which a file says what it guards. `P3 to P5` is a
/// range.
fn guarded(head: &str) -> BTreeSet<u32> {
    let Some(rest) = head.strip_prefix("Guards ") else {
        return BTreeSet::new();
    };
    let sentence = rest.split_once(": ").map_or(rest, |(numbers, _)| numbers);
    let sentence = sentence.split_once(". ").map_or(sentence, |(numbers, _)| numbers);
    let number = |word: &str| -> Option<u32> {
        word.strip_prefix('P')?.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok()
    };
    let words: Vec<_> = sentence.split([' ', '(', ')', ',']).filter(|w| !w.is_empty()).collect();
    let mut found = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        let Some(first) = number(word) else {
            continue;
        };
        let to = words.get(at + 1).filter(|word| **word == "to").and(words.get(at + 2));
        found.extend(first..=to.and_then(|word| number(word)).unwrap_or(first));
    }
    found
}

/// The promises that a test carries in its name: `p10_p13_...` guards both.
fn named(test: &str) -> Vec<u32> {
    let words = test.split('_').map_while(|word| word.strip_prefix('p')?.parse().ok());
    words.collect()
}

/// The sources that may hold tests. The maps themselves, and the rules about sources, guard promises at
/// one remove, and so do the bugs that a test has to catch: they are no proof of any.
fn test_files() -> Vec<(String, String)> {
    let removed = [
        "tests/promises.rs",
        "tests/documents.rs",
        "tests/architecture.rs",
        "tests/test_support.rs",
        "tests/language.rs",
        "tests/negative_controls.rs",
    ];
    let paths = PLACES.into_iter().flat_map(|place| files(place, ".rs"));
    paths
        .filter(|path| !removed.contains(&path.as_str()))
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// For each promise what must stand in its row: the tests with its number in their names, or else the
/// file as a whole.
fn expected(test_files: &[(String, String)]) -> BTreeMap<u32, BTreeSet<String>> {
    let mut rows: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in test_files {
        let tests = tests_in(text);
        let mut named_here = BTreeSet::new();
        for test in &tests {
            for promise in named(test) {
                named_here.insert(promise);
                rows.entry(promise).or_default().insert(format!("{path}::{test}"));
            }
        }
        for promise in guarded(&head(text)) {
            if !named_here.contains(&promise) {
                rows.entry(promise).or_default().insert(path.clone());
            }
        }
    }
    rows
}

/// Whether a name in the map stands for a test, or for a file that guards the promise.
fn holds(name: &str, promise: u32, test_files: &[(String, String)]) -> bool {
    let (path, test) =
        name.split_once("::").map_or((name, None), |(path, test)| (path, Some(test)));
    let Some((_, text)) = test_files.iter().find(|(known, _)| known == path) else {
        return false;
    };
    match test {
        Some(test) => tests_in(text).iter().any(|known| known == test),
        None => guarded(&head(text)).contains(&promise),
    }
}

/// The map as it stands: promise, and what is named in its row.
fn rows(page: &str) -> Vec<(u32, Vec<String>)> {
    let number = |row: &[String]| row[0].strip_prefix('P')?.parse().ok();
    let named = |row: &[String]| quoted(&row[2]).into_iter().map(str::to_owned).collect();
    table(page).iter().map(|row| (number(row).expect("P and a number"), named(row))).collect()
}

/// Writes the third column anew, if asked to by `UPDATE_PROMISES`.
fn update(page: &str, test_files: &[(String, String)]) -> String {
    let expected = expected(test_files);
    let line = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let promise = cells.get(1).and_then(|cell| cell.strip_prefix('P')?.parse::<u32>().ok());
        let Some(promise) = promise.filter(|promise| *promise <= LAST) else {
            return line.to_owned();
        };
        let mut names = expected.get(&promise).cloned().unwrap_or_default();
        let kept = quoted(cells[3]).into_iter().filter(|name| holds(name, promise, test_files));
        names.extend(kept.map(str::to_owned));
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        format!("| P{promise} | {} | {} |", cells[2], names.join(", "))
    };
    page.lines().map(|text| line(text) + "\n").collect()
}

/// The page, brought up to date first if that was asked for.
fn page(test_files: &[(String, String)]) -> String {
    let page = read(PAGE);
    if std::env::var_os("UPDATE_PROMISES").is_none() {
        return page;
    }
    let updated = update(&page, test_files);
    fs::write(root().join(PAGE), &updated).expect("the page can be written");
    updated
}

#[test]
fn the_map_of_promises_is_complete_and_true_and_no_promise_is_without_a_test() {
    let test_files = test_files();
    let page = page(&test_files);
    let rows = rows(&page);
    let numbers: Vec<_> = rows.iter().map(|(promise, _)| *promise).collect();
    assert_eq!(numbers, (FIRST..=LAST).collect::<Vec<_>>(), "one row for each promise");
    let expected = expected(&test_files);
    let mut faults = Vec::new();
    for (promise, names) in &rows {
        if names.is_empty() {
            faults.push(format!("P{promise} has no test"));
        }
        let gone = names.iter().filter(|name| !holds(name, *promise, &test_files));
        faults.extend(gone.map(|name| {
            format!("P{promise} names `{name}`: not there, or its head does not say so")
        }));
        let missing = expected.get(promise).into_iter().flatten();
        let missing = missing.filter(|name| !names.contains(name));
        faults.extend(missing.map(|name| format!("P{promise} does not name `{name}`")));
    }
    if !faults.is_empty() {
        faults.push("UPDATE_PROMISES=1 brings the map up to date".to_owned());
    }
    assert_none(faults);
}

#[test]
fn every_test_file_opens_with_the_promises_that_it_guards() {
    let mut faults = Vec::new();
    for place in PLACES.into_iter().filter(|place| place.ends_with("tests")) {
        let is_test = |path: &String| !path[place.len() + 1..].contains('/');
        for path in files(place, ".rs").into_iter().filter(is_test) {
            let numbers = guarded(&head(&read(&path)));
            if numbers.is_empty() || numbers.iter().any(|number| *number > LAST) {
                faults.push(format!("{path} does not open with `//! Guards P..`"));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn the_promises_are_the_same_on_both_pages() {
    let page = read("docs/durability.md");
    let promised = page.lines().filter_map(|line| line.strip_prefix("* **P")?.split_once("**"));
    let promised: Vec<u32> = promised.filter_map(|(number, _)| number.parse().ok()).collect();
    assert_eq!(promised, (FIRST..=LAST).collect::<Vec<_>>());
}

#[test]
fn heads_and_names_are_read_as_they_are_meant() {
    let numbers = |head| guarded(head).into_iter().collect::<Vec<_>>();
    assert_eq!(numbers("Guards P1, P2. What P9 is about does not matter."), [1, 2]);
    assert_eq!(numbers("Guards P10, P11 (and so on), P13: the scanner is total."), [10, 11, 13]);
    assert_eq!(numbers("Guards P20 (one owner) and the storage contract."), [20]);
    assert_eq!(numbers("Guards P1 to P3, P7: all of it"), [1, 2, 3, 7]);
    assert_eq!(numbers("Guards the guard: P1"), [0; 0]);
    assert_eq!(named("p11_p13_whatever_happens"), [11, 13]);
    assert!(named("v7_p13_is_not_first").is_empty() && named("power_p1").is_empty());
    let source = "#[test]\nfn a() {}\n#[actix::test]\n#[ignore]\nasync fn p1_b() {}\nfn c() {}\n";
    assert_eq!(tests_in(source), ["a", "p1_b"]);
}

#[test]
fn a_map_that_names_what_is_not_there_is_noticed_and_mended() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = [
        file("tests/a.rs", "//! Guards P1, P2.\n#[test]\nfn p2_x() {}\n#[test]\nfn y() {}\n"),
        file("src/b.rs", "#[cfg(test)]\nmod tests {\n#[test]\nfn z() {}\n}\n"),
    ];
    for (name, promise, expected) in [
        ("tests/a.rs", 1, true),
        ("tests/a.rs", 3, false),
        ("tests/a.rs::y", 3, true),
        ("tests/a.rs::gone", 1, false),
        ("tests/gone.rs", 1, false),
        ("src/b.rs::z", 1, true),
    ] {
        assert_eq!(holds(name, promise, &files), expected, "{name} for P{promise}");
    }
    let before = "| promise | in short | tests |\n|---|---|---|\n| P1 | one | `tests/gone.rs`, `src/b.rs::z` |\n| P2 | two | |\n";
    let after = update(before, &files);
    let names = rows(&after).into_iter().map(|(_, names)| names).collect::<Vec<_>>();
    assert_eq!(names, [vec!["src/b.rs::z", "tests/a.rs"], vec!["tests/a.rs::p2_x"]]);
}
