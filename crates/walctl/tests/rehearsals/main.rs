//! Guards P10, P11, P21, P24 at one remove: each disaster of `docs/operations.md` is made, the commands of the page run as they
//! stand there, and print what the page shows; what the page claims of the data then is so.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use actix_wal::{FlushPolicy, Wal, WalConfig};
use support::built::root;
use support::participant::participant_log;
use support::{json, walctl};
use test_support::mounts::{LARGE_EXT4, Mount};
use test_support::pages::{Block, blocks};

use self::scene::{Scene, Server, has};

const PAGE: &str = "docs/operations.md";

/// The headings of the section, each with its number of command blocks.
const REHEARSED: [(&str, usize); 8] = [
    ("The disk is full", 2),
    ("The disk returns errors", 3),
    ("A sync does not return", 2),
    ("A record in the middle is damaged", 4),
    ("A segment is lost", 2),
    ("A segment of another log is in the directory", 2),
    ("A coordinator is gone for good", 2),
    ("The log has to go back to an LSN", 2),
];

/// The records of the logs of these tests, in a few segments each.
const RECORDS: u64 = 300;
/// The last of them that is in the backup.
const IN_BACKUP: u64 = 250;

fn page() -> String {
    fs::read_to_string(root().join(PAGE)).expect("there is a page")
}

/// The command blocks below a heading.
fn steps<const N: usize>(heading: &str) -> [Block; N] {
    assert!(REHEARSED.contains(&(heading, N)), "{heading} has other blocks");
    let all = blocks(&page()).into_iter().filter(|block| block.heading == heading);
    let all: Vec<_> = all.collect();
    all.try_into().unwrap_or_else(|all: Vec<_>| panic!("{heading}: {} blocks", all.len()))
}

#[test]
fn every_disaster_of_the_page_is_rehearsed_and_has_its_parts() {
    let page = page();
    let section = page.split("\n## ").find(|part| part.starts_with("Disasters\n"));
    let section = section.expect("it has disasters");
    let mut known: BTreeSet<_> = REHEARSED.iter().map(|(heading, _)| *heading).collect();
    for part in section.split("\n### ").skip(1) {
        let heading = part.lines().next().expect("a heading");
        assert!(known.remove(heading), "{PAGE}: {heading} is not rehearsed");
        for what in ["**Meaning.**", "**Confirm.**", "**Do.**", "**Do not.**", "**Call for help**"]
        {
            assert!(part.contains(what), "{PAGE}: {heading}: no {what}");
        }
    }
    assert!(known.is_empty(), "{PAGE} has no {known:?}");
    let expected: usize = REHEARSED.iter().map(|(_, count)| count).sum();
    assert_eq!(blocks(&page).len(), expected, "a block that nothing runs");
}

/// A log of records in several segments, which ends at this LSN; it may be there already.
fn fill(log: &Path, last: u64) {
    let mut config = WalConfig::new(log);
    (config.segment_size, config.block_size) = (64 << 10, 512);
    config.flush_policy = FlushPolicy::Eager;
    let wal = Wal::open(config).blocking().expect("opens");
    for lsn in wal.durable_lsn().get() + 1..=last {
        let durable = wal.commit_blocking(format!("record {lsn}")).expect("durable");
        assert_eq!(durable.get(), lsn);
    }
    wal.close_blocking().expect("closes");
}

/// The log takes another record.
fn goes_on(log: &Path) {
    let before = records(log);
    let wal = Wal::open(WalConfig::new(log)).blocking().expect("opens");
    wal.commit_blocking("the next life").expect("durable");
    wal.close_blocking().expect("closes");
    assert_eq!(records(log), before + 1);
}

/// A log, and its backup from a while ago.
fn scene_with_a_log() -> Scene {
    let scene = Scene::new();
    fill(&scene.path("DIR"), IN_BACKUP);
    scene.prepare("walctl backup DIR BACKUP");
    fill(&scene.path("DIR"), RECORDS);
    scene
}

/// Spoils a frame of the second segment, behind which there are others.
fn damage(log: &Path) {
    let file = fs::OpenOptions::new().write(true).open(log.join(format!("{:020}.wal", 2)));
    file.expect("there").write_all_at(&[0xff; 64], 20 * 512).expect("written");
}

fn records(log: &Path) -> u64 {
    let (code, verified) = json(walctl(["verify".as_ref(), "--json".as_ref(), log.as_os_str()]));
    assert_eq!(code, 0, "{verified}");
    verified["records"].as_u64().expect("a number")
}

#[test]
fn p10_p11_a_damaged_log_is_restored_and_what_is_newer_than_the_backup_is_saved() {
    let [confirm, restore, _, _] = steps("A record in the middle is damaged");
    let mut scene = scene_with_a_log();
    damage(&scene.path("DIR"));
    scene.name("NEXT", (IN_BACKUP + 1).to_string());
    scene.rehearse(&confirm);
    scene.rehearse(&restore);
    assert_eq!(records(&scene.path("DIR")), IN_BACKUP);
    let newer = fs::read_to_string(scene.path("ELSEWHERE").join("newer.json")).expect("saved");
    assert_eq!(newer.lines().count() as u64, RECORDS - IN_BACKUP);
    goes_on(&scene.path("DIR"));
}

#[test]
fn p10_p11_a_damaged_log_without_a_backup_is_cut_where_the_page_says() {
    let [_, _, look, cut] = steps("A record in the middle is damaged");
    let mut scene = scene_with_a_log();
    damage(&scene.path("DIR"));
    let (_, verified) =
        json(walctl(["verify".as_ref(), "--json".as_ref(), scene.path("DIR").as_os_str()]));
    let first = verified["problems"][0]["lsn"].as_u64().expect("the damage has an LSN");
    scene.name("LOST", first.to_string());
    scene.rehearse(&look);
    let saved = fs::read_to_string(scene.path("ELSEWHERE").join("newer.json")).expect("saved");
    let saved = saved.lines().count() as u64;
    // One record a frame: what was spoiled is the one that can not be read.
    assert_eq!(saved, RECORDS - first, "all behind the damaged record");
    scene.rehearse(&cut);
    assert_eq!(records(&scene.path("DIR")), first - 1);
}

#[test]
fn p10_p11_a_segment_that_was_moved_away_is_put_back() {
    let [confirm, put_back] = steps("A segment is lost");
    let scene = scene_with_a_log();
    scene.prepare("mv DIR/00000000000000000002.wal ELSEWHERE/");
    scene.rehearse(&confirm);
    scene.rehearse(&put_back);
    assert_eq!(records(&scene.path("DIR")), RECORDS);
}

#[test]
fn p10_p11_a_segment_of_another_log_is_moved_away() {
    let [confirm, move_away] = steps("A segment of another log is in the directory");
    let scene = scene_with_a_log();
    let other = scene.path("ELSEWHERE").join("other");
    // So many that it has a segment of this number, and this log has none.
    fill(&other, 5 * RECORDS);
    let segments = fs::read_dir(scene.path("DIR")).expect("there").count();
    assert!(segments < 9, "{segments} segments");
    let name = format!("{:020}.wal", 9);
    fs::copy(other.join(&name), scene.path("DIR").join(&name)).expect("copied");
    scene.rehearse(&confirm);
    scene.rehearse(&move_away);
    assert_eq!(records(&scene.path("DIR")), RECORDS);
}

#[test]
fn p24_a_transaction_whose_coordinator_is_gone_is_decided_by_hand() {
    let [confirm, decide] = steps("A coordinator is gone for good");
    let mut scene = Scene::new();
    participant_log(&scene.path("DIR"));
    let list =
        || json(walctl(["txn".as_ref(), "--json".as_ref(), scene.path("DIR").as_os_str()])).1;
    let id = list()["in_doubt"][0]["id"].as_str().expect("one is in doubt").to_owned();
    scene.name("ID", id);
    scene.rehearse(&confirm);
    scene.rehearse(&decide);
    let (_, list) =
        json(walctl(["txn".as_ref(), "--json".as_ref(), scene.path("DIR").as_os_str()]));
    assert_eq!(list["in_doubt"].as_array().map(Vec::len), Some(0), "{list}");
}

#[test]
fn p10_a_log_goes_back_to_an_lsn_and_goes_on_from_there() {
    let [find, go_back] = steps("The log has to go back to an LSN");
    let mut scene = scene_with_a_log();
    for (name, lsn) in [("FIRST", 200), ("LAST", 202), ("GOOD", 201)] {
        scene.name(name, lsn.to_string());
    }
    scene.rehearse(&find);
    scene.rehearse(&go_back);
    assert_eq!(records(&scene.path("DIR")), 201);
    goes_on(&scene.path("DIR"));
}

#[test]
fn p21_a_full_disk_is_cleared_beside_the_running_server() {
    let [confirm, make_room] = steps("The disk is full");
    if !has(&["curl", "redis-cli"]) {
        return;
    }
    let Some(mount) = Mount::new(LARGE_EXT4) else { return };
    let mut scene = Scene::new();
    let mut server = Server::start(&mut scene, &mount.place.join("data"));
    let other = mount.place.join("other").display().to_string();
    scene.name("OTHER", other);
    // It ends when nothing more fits.
    scene.prepare("dd if=/dev/zero of=OTHER bs=1M 2> /dev/null || true; sync OTHER");
    server.write_until(&mut scene, "no space");
    scene.rehearse(&confirm);
    scene.rehearse(&make_room);
    server.writes(&mut scene);
    server.end(&mut scene);
}

#[test]
fn p6_p10_errors_of_the_disk_leave_a_backup_and_a_log_that_goes_on() {
    let [confirm, save, after] = steps("The disk returns errors");
    if !has(&["curl", "redis-cli", "strace"]) {
        return;
    }
    let mut scene = Scene::new();
    let mut server = Server::start_in(&mut scene);
    server.writes(&mut scene);
    if !server.inject(&mut scene, "fdatasync:error=EIO") {
        return;
    }
    server.write_until(&mut scene, "unavailable");
    scene.rehearse(&confirm);
    scene.rehearse(&save);
    server.heal(&mut scene);
    scene.rehearse(&after);
    server.has_what_was_written(&mut scene);
    server.end(&mut scene);
}

#[test]
fn p6_a_sync_that_hangs_is_waited_for() {
    let [confirm, wait] = steps("A sync does not return");
    if !has(&["curl", "redis-cli", "strace"]) {
        return;
    }
    let mut scene = Scene::new();
    let mut server = Server::start_in(&mut scene);
    server.writes(&mut scene);
    if !server.inject(&mut scene, "fdatasync:delay_enter=600000000") {
        return;
    }
    server.write_until(&mut scene, "stalled");
    scene.rehearse(&confirm);
    server.heal(&mut scene);
    scene.rehearse(&wait);
    server.has_what_was_written(&mut scene);
    server.end(&mut scene);
}
