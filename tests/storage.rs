//! Guards P20 (one owner) on a real directory, and what a directory does beyond the storage contract, which
//! is in `tests/storage_contract.rs`.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::{fs, io, path::Path, process::Command};

use actix_wal::testkit::internals::engine::segments::prepare::{PrepareJob, prepare};
use actix_wal::{
    storage::{Directory, Medium, Storage, filesystem_name},
    testkit::{Persist, Recorder},
};
use test_support::scratch::folder;

/// Set in the process that a test starts to get a second owner.
const DIRECTORY_OF_ANOTHER: &str = "ACTIX_WAL_TEST_DIRECTORY";

#[track_caller]
fn assert_refused(path: &Path) {
    let refused = Directory::open(path).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    assert!(refused.to_string().contains("another owner"), "{refused}");
}

#[test]
fn a_second_opener_in_the_same_process_is_refused_until_the_first_is_dropped() {
    let folder = folder();
    let first = Directory::open(folder.path()).unwrap();
    assert_refused(folder.path());
    drop(first);
    Directory::open(folder.path()).unwrap();
}

#[test]
fn a_second_opener_in_another_process_is_refused() {
    if let Some(path) = std::env::var_os(DIRECTORY_OF_ANOTHER) {
        return assert_refused(path.as_ref());
    }
    let folder = folder();
    let _owner = Directory::open(folder.path()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_second_opener_in_another_process_is_refused"])
        .env(DIRECTORY_OF_ANOTHER, folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn missing_folders_are_created() {
    let folder = folder();
    let path = folder.path().join("some/where/wal");
    let directory = Directory::open(&path).unwrap();
    directory.create("a").unwrap();
    assert!(path.join("a").is_file());
    assert_eq!(directory.location(), path.display().to_string());
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error() {
    let folder = folder();
    let path = folder.path().join("wal");
    fs::write(&path, "").unwrap();
    let error = Directory::open(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
}

#[test]
fn names_stay_in_the_directory() {
    let folder = folder();
    let directory = Directory::open(folder.path()).unwrap();
    for name in ["", ".", "..", "../c", "a/b"] {
        let error = directory.create(name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        let error = directory.list_folder(name).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
    }
    assert!(directory.list().unwrap().is_empty());
}

#[test]
fn renaming_the_directory_changes_nothing_for_its_owner() {
    let folder = folder();
    let path = folder.path().join("wal");
    let directory = Directory::open(&path).unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    directory.create("a").unwrap();
    assert!(folder.path().join("moved/a").is_file());
}

#[test]
fn a_removed_directory_gives_errors_and_no_files_elsewhere() {
    let folder = folder();
    let path = folder.path().join("wal");
    let directory = Directory::open(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    let error = directory.create("a").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(directory.list().unwrap().is_empty());
}

#[test]
fn the_medium_fits_the_name_of_the_file_system() {
    let folder = folder();
    let directory = Directory::open(folder.path()).unwrap();
    let name = filesystem_name(folder.path()).unwrap();
    match name.as_str() {
        "tmpfs" | "ramfs" => assert_eq!(directory.medium(), Medium::Memory),
        "ext4" | "xfs" => assert_eq!(directory.medium(), Medium::InPlace),
        "btrfs" | "zfs" => assert_eq!(directory.medium(), Medium::CopyOnWrite),
        _ => {}
    }
    assert!(directory.free_bytes().is_none_or(|free| free > 0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_memory_file_system_is_recognised() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    assert_eq!(Directory::open(folder.path()).unwrap().medium(), Medium::Memory);
}

#[test]
fn a_segment_is_prepared_on_a_real_disk_as_on_a_simulated_one() {
    let folder = folder();
    let recorder = Recorder::new(std::sync::Arc::new(Directory::open(folder.path()).unwrap()));
    let recorder = recorder.unwrap();
    let job = PrepareJob {
        name: "1.wal".to_owned(),
        temp_name: "1.tmp".to_owned(),
        size: 64 * 1024,
        header: b"header".to_vec(),
        zero_fill: true,
        recycle: None,
        block_size: 4096,
    };
    let file = prepare(&recorder, &job).unwrap();
    assert_eq!(file.size().unwrap(), job.size);
    let content = fs::read(folder.path().join("1.wal")).unwrap();
    let durable = recorder.log().image(usize::MAX, Persist::Dropped);
    assert_eq!(durable.read_file("1.wal").unwrap(), content);
    assert_eq!(durable.names(), ["1.wal"]);
}
