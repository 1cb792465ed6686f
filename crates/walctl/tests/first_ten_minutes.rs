//! Guards P1, P10, P11 at one remove: a newcomer who types the commands of `docs/first-ten-minutes.md` sees what the page shows.
//!
//! The commands run as they stand, one block after the other in one shell, in a folder that looks like a clone. Three things
//! are other than on the page, so that the test builds nothing twice and disturbs no other program:
//!
//! * `cargo` is a script. `cargo build` does nothing, and `cargo run --release --example` runs the example, both with what this
//!   test has built in its own profile.
//! * `target/release` of the folder holds links to those programs.
//! * The ports 7379 and 9379 are two that are free.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use support::built::{built, root};
use support::folder;
use test_support::pages::{Shell, blocks, check};
use test_support::skips::has;

const PAGE: &str = "docs/first-ten-minutes.md";

/// An example that the page shows whole, and runs.
const OWN_ACTOR: &str = "examples/sum.rs";

const CARGO: &str = r#"#!/bin/sh
case "$*" in
    "build --release --quiet -p actix-wal-redis -p walctl") ;;
    "run --release --example "*) exec "target/release/examples/$4" ;;
    *) echo "the test of this page does not know: cargo $*"; exit 64 ;;
esac
"#;

fn page() -> String {
    fs::read_to_string(root().join(PAGE)).expect("there is a page")
}

/// Makes the folder look like a clone in which cargo has built everything.
fn furnish(clone: &Path) {
    let examples = ["--example", "quickstart", "--example", "sum"];
    built(&[&["-p", "actix-wal"], &examples[..]].concat());
    let programs = built(&["-p", "actix-wal-redis", "--bins"]);
    fs::create_dir_all(clone.join("target")).expect("made");
    symlink(programs, clone.join("target/release")).expect("linked");
    symlink(root().join("ops").canonicalize().expect("there"), clone.join("ops")).expect("linked");
    fs::create_dir(clone.join("bin")).expect("made");
    let cargo = clone.join("bin/cargo");
    fs::write(&cargo, CARGO).expect("written");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("allowed");
}

/// Two ports that nobody listens on.
fn free_ports() -> [String; 2] {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    [listen(), listen()].map(|it| it.local_addr().expect("bound").port().to_string())
}

#[test]
fn the_first_ten_minutes_go_as_the_page_shows_them() {
    if !["curl", "redis-cli", "prlimit"].into_iter().all(has) {
        return;
    }
    let clone = folder();
    furnish(clone.path());
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", clone.path().join("bin").display());
    // The client of Redis answers as in a terminal.
    let mut shell = Shell::new(clone.path(), &[("PATH", &path), ("FAKETTY", "1")]);
    let [clients, metrics] = free_ports();
    let ports = [("7379", clients.as_str()), ("9379", metrics.as_str())];
    let blocks = blocks(&page());
    assert!(blocks.len() > 10, "the page has {} blocks", blocks.len());
    for block in &blocks {
        if block.commands.contains("promtool") && !has("promtool") {
            continue;
        }
        check(&mut shell, block, &ports).unwrap_or_else(|why| panic!("{PAGE}, {why}"));
    }
}

#[test]
fn the_actor_on_the_page_is_the_example_that_it_runs() {
    let example = fs::read_to_string(root().join(OWN_ACTOR)).expect("there");
    let (_, code) = example.split_once("\n\n").expect("a comment for the whole file");
    assert!(page().contains(&format!("```rust\n{code}```\n")), "{PAGE} shows another {OWN_ACTOR}");
}
