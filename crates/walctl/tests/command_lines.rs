//! Guards P10, P11 at one remove: an operator who types a command of `walctl` from a page meets no error of usage.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::fs;

use support::built::root;
use support::{folder, run, walctl};

const PAGES: [&str; 4] = [
    "docs/operations.md",
    "docs/deployment.md",
    "docs/first-ten-minutes.md",
    "crates/walctl/README.md",
];

/// These would begin their work in a directory that is not there: their command lines are only parsed.
const BEGINS: [&str; 2] = ["demo", "soak"];

/// What stands for the names on the pages. A directory stays as it is: there is none of this name.
const NAMES: [(&str, &str); 11] = [
    ("LSN", "7"),
    ("FIRST", "1"),
    ("LAST", "9"),
    ("NEXT", "8"),
    ("LOST", "8"),
    ("GOOD", "7"),
    ("SECONDS", "1"),
    ("SHELL", "bash"),
    ("HOST", "127.0.0.1:1"),
    ("ADDR", "127.0.0.1:1"),
    ("ADDR\\|DIR", "127.0.0.1:1"),
];

/// The pieces of a page that may be commands: what stands in backticks, and the lines of blocks.
fn pieces(page: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for (at, part) in page.split("```").enumerate() {
        if at % 2 == 0 {
            let spans = part.split('`').skip(1).step_by(2);
            pieces.extend(spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")));
        } else if part.starts_with("sh\n") {
            let commands = part.lines().flat_map(|line| line.split([';', '&', '>']));
            pieces.extend(commands.flat_map(|it| it.split(" | ")).map(|it| it.trim().to_owned()));
        }
    }
    pieces
}

/// What stands behind `walctl` in each piece that is a command line of it.
fn command_lines(page: &str) -> Vec<Vec<String>> {
    let lines = pieces(page).into_iter().filter_map(|piece| {
        let line =
            piece.strip_prefix("walctl ").or_else(|| Some(piece.split_once("-p walctl -- ")?.1));
        line.map(str::to_owned)
    });
    // The table of the README has them without the name of the program, and without options that are needed.
    let rows = page.lines().skip_while(|line| !line.starts_with("| command | what it does |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with("| `"));
    let cells = rows.flat_map(|row| {
        let cell = row.split(" | ").next().unwrap_or_default();
        cell.split('`').skip(1).step_by(2).map(|it| format!("{it} --help")).collect::<Vec<_>>()
    });
    let named = |word: &str| {
        let value = NAMES.iter().find(|(name, _)| *name == word).map_or(word, |(_, value)| value);
        value.to_owned()
    };
    lines.chain(cells).map(|line| line.split_whitespace().map(named).collect()).collect()
}

/// How the program takes these words: status 64 is an error of usage.
fn status(words: &[String]) -> (i32, String) {
    let folder = folder();
    let is_mention = words.len() == 1 && !words[0].starts_with('-');
    let mut command = walctl(words);
    command.current_dir(folder.path());
    if is_mention || BEGINS.contains(&words[0].as_str()) {
        command.arg("--help");
    }
    let ended = run(command);
    (ended.code, ended.stderr)
}

#[test]
fn every_command_line_of_walctl_on_the_pages_is_one_that_it_takes() {
    let mut faults = Vec::new();
    for page in PAGES {
        let lines = command_lines(&fs::read_to_string(root().join(page)).expect("a page"));
        assert!(!lines.is_empty(), "{page}: no command line was found");
        for words in lines {
            let (code, stderr) = status(&words);
            if code == 64 {
                faults.push(format!("{page}: walctl {}: {stderr}", words.join(" ")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn command_lines_are_found_and_wrong_ones_are_noticed() {
    let page = "Use `walctl stat\nDIR`, or `walctl`.\n```sh\ncargo run -p walctl -- dump DIR --from LSN | wc\n\
                walctl verify DIR; echo\n```\n| command | what it does |\n|---|---|\n| `man`, `top ADDR` | `x` |\n";
    let found = command_lines(page);
    let found: Vec<_> = found.iter().map(|words| words.join(" ")).collect();
    let expected =
        ["stat DIR", "dump DIR --from 7", "verify DIR", "man --help", "top 127.0.0.1:1 --help"];
    assert_eq!(found, expected);
    let code = |line: &str| status(&line.split(' ').map(str::to_owned).collect::<Vec<_>>()).0;
    assert_eq!(code("stat DIR"), 3);
    assert_eq!([code("stats DIR"), code("dump DIR --since 7"), code("restor")], [64, 64, 64]);
}
