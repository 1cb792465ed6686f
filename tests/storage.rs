//! Guards P20 at one remove: what a real directory does beyond the storage contract, which is in
//! `tests/storage_contract.rs`. Who may have it is in `tests/reopening.rs`.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::{fs, io};

use actix_wal::testkit::internals::engine::segments::prepare::{PrepareJob, prepare};
use actix_wal::{
    storage::{Directory, Medium, Storage, filesystem_name},
    testkit::{Persist, Recorder},
};
use test_support::scratch::folder;

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
