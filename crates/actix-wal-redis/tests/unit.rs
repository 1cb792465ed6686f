//! Guards P22 at one remove: systemd accepts the unit of the deployment plan, and what it forbids the server does not need.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use test_support::scratch::folder;
use test_support::skips::skip;

use self::support::answer::Answer;
use self::support::http;
use self::support::program::Server;
use self::support::repository::read;
use self::support::strace::strace_works;

const UNIT: &str = "ops/actix-wal-redis.service";

#[test]
fn systemd_accepts_the_unit() {
    let unit = read("ops/actix-wal-redis.service");
    let folder = folder();
    // It looks for the program too, which is not installed here.
    let unit =
        unit.replace("/usr/local/bin/actix-wal-redis", env!("CARGO_BIN_EXE_actix-wal-redis"));
    let path = folder.path().join("actix-wal-redis.service");
    std::fs::write(&path, &unit).unwrap();
    let output = match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: systemd-analyze: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let about_it: Vec<_> =
        said.lines().filter(|line| line.contains("actix-wal-redis.service")).collect();
    assert!(output.status.success() && about_it.is_empty(), "{said}");
    // And it notices a word that it does not know.
    std::fs::write(&path, unit.replace("ProtectSystem=strict", "ProtectSystems=strict")).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("ProtectSystems"));
}

/// The system calls of a set, such as `@system-service`, and of the sets in it.
fn calls_of(set: &str) -> BTreeSet<String> {
    let Some(_) = set.strip_prefix('@') else { return [set.to_owned()].into() };
    let listed = Command::new("systemd-analyze").args(["syscall-filter", set]).output().unwrap();
    assert!(listed.status.success(), "{set}: {}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).unwrap();
    let members = text.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#'));
    members.filter(|member| !member.is_empty()).flat_map(calls_of).collect()
}

/// What the filters of the unit leave: each adds to the ones before, or takes away.
fn allowed(unit: &str) -> BTreeSet<String> {
    let mut allowed = calls_of("@default");
    for filter in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (forbids, sets) = match filter.strip_prefix('~') {
            Some(sets) => (true, sets),
            None => (false, filter),
        };
        for call in sets.split_whitespace().flat_map(calls_of) {
            if forbids {
                allowed.remove(&call)
            } else {
                allowed.insert(call)
            };
        }
    }
    allowed
}

/// The system calls in a trace with process numbers; one that was begun and resumed counts as one.
fn traced(trace: &str) -> BTreeSet<String> {
    let call = |line: &str| {
        let (_, rest) = line.split_once(' ')?;
        let (name, _) = rest.trim_start().split_once('(')?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_name && !name.is_empty()).then(|| name.to_owned())
    };
    trace.lines().filter_map(call).collect()
}

#[test]
fn p22_the_unit_allows_every_system_call_that_the_server_makes() {
    if !strace_works() {
        return skip("strace is not there, or may not trace");
    }
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skip("systemd-analyze is not there");
    }
    let folder = folder();
    let (trace, data) = (folder.path().join("trace"), folder.path().join("data"));
    let before = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()];
    let mut server = Server::ours_under(&before, &data, &["--metrics-port", "0"]);
    let mut client = server.client();
    // So much that snapshots are written and segments used again.
    let value = vec![b'v'; 1 << 20];
    for key in 0..200 {
        let answer = client.try_call(&[b"SET", format!("key{}", key % 8).as_bytes(), &value[..]]);
        assert_eq!(answer, Some(Answer::Status("OK".into())), "key{key}");
    }
    client.call("GET key1");
    assert_eq!(http::get(server.metrics_port(), "/metrics").0, 200);
    client.send(b"SHUTDOWN\r\n").unwrap();
    assert!(server.ended().success(), "{}", server.words());

    let snapshots = fs::read_dir(data.join("snapshots")).unwrap().count();
    assert!(snapshots > 0, "the calls of a snapshot are not among them");
    // The first call is that of strace, before the program has its filter.
    let mut made = traced(&fs::read_to_string(&trace).unwrap());
    assert!(["fdatasync", "accept4", "clone3"].iter().all(|call| made.contains(*call)), "{made:?}");
    made.remove("execve");
    let allowed = allowed(&read(UNIT));
    let forbidden: Vec<_> = made.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "the unit forbids {forbidden:?}");
    // And it would be noticed.
    assert!(!allowed.contains("mount") && !allowed.contains("reboot"));
}
