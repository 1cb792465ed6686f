//! Guards the guard: every crash test believes this disk.

use std::collections::BTreeSet;

use super::*;
use crate::storage::{read_exact_at, write_all_at};

const TORN: std::ops::Range<u64> = 0..200;

fn synced_file(storage: &dyn Storage, name: &str, content: &[u8]) -> Box<dyn StorageFile> {
    let file = storage.create(name).unwrap();
    write_all_at(&*file, content, 0).unwrap();
    file.sync().unwrap();
    storage.sync_dir().unwrap();
    file
}

fn outcomes(disk: &SimDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let torn = TORN.map(|seed| disk.crash(Persist::Torn { seed }));
    torn.map(|found| found.read_file(name)).collect()
}

#[test]
fn unsynced_bytes_are_lost_unless_kept_and_synced_bytes_never() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"old");
    write_all_at(&*file, b"new and longer", 0).unwrap();
    let after = |persist| disk.crash(persist).read_file("a").unwrap();
    assert_eq!(after(Persist::Dropped), b"old");
    assert_eq!(after(Persist::Kept), b"new and longer");
    file.sync().unwrap();
    assert_eq!(after(Persist::Dropped), b"new and longer");
}

#[test]
fn each_unsynced_sector_is_torn_from_the_others() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", &[1; 2 * SECTOR]);
    write_all_at(&*file, &[2; 2 * SECTOR], 0).unwrap();
    let both = |first, second| Some([[first; SECTOR], [second; SECTOR]].concat());
    let expected = [both(1, 1), both(1, 2), both(2, 1), both(2, 2)];
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from(expected));
}

#[test]
fn the_size_of_a_growing_file_is_torn_from_its_content() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"");
    write_all_at(&*file, b"x", 0).unwrap();
    let expected = [&b""[..], b"\0", b"x"].map(|content| Some(content.to_vec()));
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from(expected));
}

#[test]
fn a_file_cut_and_extended_again_may_show_its_old_bytes_until_it_is_synced() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"abcd");
    file.set_size(1).unwrap();
    file.set_size(4).unwrap();
    assert_eq!(disk.read_file("a").unwrap(), b"a\0\0\0");
    let expected = [&b"abcd"[..], b"a\0\0\0", b"a"].map(|content| Some(content.to_vec()));
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from(expected), "each of its sizes and contents");
    file.sync().unwrap();
    let found = disk.crash(Persist::Dropped).read_file("a").unwrap();
    assert_eq!(found, b"a\0\0\0");
}

#[test]
fn a_name_is_durable_only_after_a_directory_sync_however_often_the_file_is_synced() {
    let disk = SimDisk::new();
    let storage = disk.mount().unwrap();
    let file = storage.create("a").unwrap();
    file.sync().unwrap();
    assert!(disk.crash(Persist::Dropped).names().is_empty());
    assert_eq!(disk.crash(Persist::Kept).names(), ["a"]);
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([None, Some(Vec::new())]));
    storage.sync_dir().unwrap();
    assert_eq!(disk.crash(Persist::Dropped).names(), ["a"]);
}

#[test]
fn a_renamed_file_is_found_under_one_of_its_names_and_never_under_none() {
    let disk = SimDisk::new();
    let storage = disk.mount().unwrap();
    synced_file(&*storage, "a", b"content");
    storage.rename("a", "b").unwrap();
    let found = TORN.map(|seed| disk.crash(Persist::Torn { seed }).names());
    let expected = [vec!["a".to_owned()], vec!["b".to_owned()]];
    assert_eq!(found.collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    assert_eq!(disk.crash(Persist::Dropped).names(), ["a"]);
}

#[test]
fn without_a_directory_sync_the_old_name_comes_back_with_the_new_content() {
    let disk = SimDisk::new();
    let storage = disk.mount().unwrap();
    let file = synced_file(&*storage, "old", b"1");
    storage.rename("old", "new").unwrap();
    write_all_at(&*file, b"2", 0).unwrap();
    file.sync().unwrap();
    let found = disk.crash(Persist::Dropped);
    assert_eq!(found.read_file("old").unwrap(), b"2");
}

#[test]
fn a_removed_file_comes_back_until_the_directory_is_synced_and_stays_readable_while_open() {
    let disk = SimDisk::new();
    let storage = disk.mount().unwrap();
    let file = synced_file(&*storage, "a", b"content");
    storage.remove("a").unwrap();
    assert_eq!(disk.crash(Persist::Dropped).names(), ["a"]);
    storage.sync_dir().unwrap();
    assert!(disk.crash(Persist::Dropped).names().is_empty());
    let mut content = [0; 7];
    read_exact_at(&*file, &mut content, 0).unwrap();
    assert_eq!(content, *b"content");
}

#[test]
fn what_a_failed_sync_forgot_is_read_but_no_later_sync_makes_it_durable() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"old");
    write_all_at(&*file, b"new", 0).unwrap();
    disk.forget_dirty("a");
    file.sync().unwrap();
    assert_eq!(disk.read_file("a").unwrap(), b"new");
    let found = disk.crash(Persist::Dropped).read_file("a").unwrap();
    assert_eq!(found, b"old");
    assert_eq!(outcomes(&disk, "a").len(), 2, "the device may have it or not");

    write_all_at(&*file, b"new", 0).unwrap();
    file.sync().unwrap();
    let found = disk.crash(Persist::Dropped).read_file("a").unwrap();
    assert_eq!(found, b"new", "written again it is like any other write");
}

#[test]
fn after_a_failed_sync_a_reverting_disk_shows_what_is_durable_and_a_second_sync_succeeds() {
    let disk = SimDisk::new().with_failed_sync(FailedSync::RevertsPages);
    let storage = disk.mount().unwrap();
    let file = synced_file(&*storage, "a", &[1; 2 * SECTOR]);
    write_all_at(&*file, &[2; 2 * SECTOR], SECTOR as u64).unwrap();
    disk.forget_dirty("a");
    assert_eq!(disk.read_file("a").unwrap(), [1; 2 * SECTOR], "bytes and size");
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([Some(vec![1; 2 * SECTOR])]));
    file.set_size(3).unwrap();
    disk.fork().forget_dirty("a");
    assert_eq!(file.size().unwrap(), 3, "a fork is another disk");
    let fork = disk.fork();
    fork.forget_dirty("a");
    assert_eq!(fork.read_file("a").unwrap(), [1; 2 * SECTOR], "what was cut off is back");

    write_all_at(&*file, b"new", 0).unwrap();
    file.sync().unwrap();
    let found = disk.crash(Persist::Dropped).read_file("a").unwrap();
    assert_eq!(found, b"new", "written again it is like any other write");
}

#[test]
fn what_was_written_after_a_sync_began_is_neither_lost_nor_reverted_by_its_failure() {
    let disk = SimDisk::new().with_failed_sync(FailedSync::RevertsPages);
    let file = synced_file(&*disk.mount().unwrap(), "a", &[1; 3 * SECTOR]);
    write_all_at(&*file, &[2; 2 * SECTOR], 0).unwrap();
    disk.with_image(|image| {
        let id = image.id_of("a").unwrap();
        let ticket = image.file(id).begin_sync();
        image.file(id).write(&[3; SECTOR], SECTOR);
        image.fail_sync(id, &ticket);
    });
    let expected = [[1; SECTOR], [3; SECTOR], [1; SECTOR]].concat();
    assert_eq!(disk.read_file("a").unwrap(), expected);
    file.sync().unwrap();
    assert_eq!(disk.crash(Persist::Dropped).read_file("a").unwrap(), expected);
}

#[test]
fn rot_turns_one_bit_where_it_is_read_and_where_it_lies() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"abc");
    write_all_at(&*file, b"X", 0).unwrap();
    assert!(disk.rot("a", 2, 1));
    assert_eq!(disk.read_file("a").unwrap(), b"Xba");
    assert_eq!(disk.crash(Persist::Dropped).read_file("a").unwrap(), b"aba");
    assert!(!disk.rot("a", 3, 0) && !disk.rot("b", 0, 0), "there is no such byte");
}

#[test]
fn one_seed_gives_one_outcome() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"");
    write_all_at(&*file, &[1; 64 * SECTOR], 0).unwrap();
    for persist in [Persist::Torn { seed: 4 }, Persist::Garbled { seed: 4 }] {
        let found = || disk.crash(persist).read_file("a").unwrap();
        assert_eq!(found(), found());
    }
}

/// Every image that can be chosen, each by the content of one file.
fn chosen(disk: &SimDisk, name: &str) -> Vec<Option<Vec<u8>>> {
    let numbers = 0..disk.possible_images();
    numbers.map(|number| disk.crash(Persist::Chosen { number }).read_file(name)).collect()
}

#[test]
fn what_is_durable_leaves_no_choice_and_each_undecided_sector_doubles_it() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", &[1; 4 * SECTOR]);
    assert_eq!(disk.possible_images(), 1);
    write_all_at(&*file, &[2; 2 * SECTOR], SECTOR as u64).unwrap();
    assert_eq!(disk.possible_images(), 4);
    file.sync().unwrap();
    assert_eq!(disk.possible_images(), 1);
}

#[test]
fn the_images_to_choose_from_are_all_that_tearing_finds_each_once() {
    let disk = SimDisk::new();
    let storage = disk.mount().unwrap();
    let file = synced_file(&*storage, "a", &[1; 2 * SECTOR]);
    write_all_at(&*file, &[2; 3 * SECTOR], 0).unwrap();
    assert_eq!(disk.possible_images(), 2 * 2 * 2 * 2, "three sectors and the size");
    let all = chosen(&disk, "a");
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), outcomes(&disk, "a"));
    assert_eq!(all[0], disk.crash(Persist::Dropped).read_file("a"));
    assert!(all.contains(&disk.crash(Persist::Kept).read_file("a")));

    storage.rename("a", "b").unwrap();
    let names: BTreeSet<_> = (0..disk.possible_images())
        .map(|number| disk.crash(Persist::Chosen { number }))
        .map(|found| (found.names(), found.read_file("a").or(found.read_file("b"))))
        .collect();
    assert_eq!(names.len(), 2 * outcomes(&disk, "b").len() - 2, "either name, any content");
}

#[test]
fn more_images_than_can_be_counted_are_as_many_as_can_be() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"");
    write_all_at(&*file, &[1; 100 * SECTOR], 0).unwrap();
    assert_eq!(disk.possible_images(), u64::MAX);
}

#[test]
fn of_several_unsynced_writes_of_a_sector_any_may_be_found() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"0");
    for version in [b"1", b"2", b"3"] {
        write_all_at(&*file, version, 0).unwrap();
    }
    let expected = [b"0", b"1", b"2", b"3"].map(|content| Some(content.to_vec()));
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from(expected.clone()));
    assert_eq!(chosen(&disk, "a"), expected);
    file.sync().unwrap();
    write_all_at(&*file, b"4", 0).unwrap();
    let expected = [b"3", b"4"].map(|content| Some(content.to_vec()));
    assert_eq!(chosen(&disk, "a"), expected, "a sync ends what came before it");
}

#[test]
fn what_was_written_while_a_failed_sync_forgot_it_may_be_found_too() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", b"0");
    write_all_at(&*file, b"1", 0).unwrap();
    disk.forget_dirty("a");
    write_all_at(&*file, b"2", 0).unwrap();
    let expected = [b"0", b"1", b"2"].map(|content| Some(content.to_vec()));
    assert_eq!(chosen(&disk, "a"), expected);
}

#[test]
fn a_name_may_survive_without_the_content_and_the_size_without_either() {
    let disk = SimDisk::new();
    let storage = disk.mount().unwrap();
    write_all_at(&*storage.create("a").unwrap(), b"x", 0).unwrap();
    let expected = [None, Some(&b""[..]), Some(b"\0"), Some(b"x")];
    let expected = expected.map(|content| content.map(<[u8]>::to_vec));
    let found: BTreeSet<_> = chosen(&disk, "a").into_iter().collect();
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_sector_that_was_being_written_may_hold_garbage_and_no_other() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", &[1; 3 * SECTOR]);
    write_all_at(&*file, &[2; SECTOR], SECTOR as u64).unwrap();
    let (mut old, mut new, mut garbage) = (0, 0, 0);
    for seed in TORN {
        let found = disk.crash(Persist::Garbled { seed }).read_file("a").unwrap();
        assert_eq!((&found[..SECTOR], &found[2 * SECTOR..]), (&[1; SECTOR][..], &[1; SECTOR][..]));
        match found[SECTOR..2 * SECTOR] {
            [1, 1, ..] => old += 1,
            [2, 2, ..] => new += 1,
            _ => garbage += 1,
        }
    }
    assert!(old.min(new).min(garbage) > 20, "{old} {new} {garbage}");
}

#[test]
fn what_is_cut_off_is_not_written_and_never_garbage() {
    let disk = SimDisk::new();
    let file = synced_file(&*disk.mount().unwrap(), "a", &[1; 2 * SECTOR]);
    file.set_size(SECTOR as u64).unwrap();
    for seed in TORN {
        let found = disk.crash(Persist::Garbled { seed }).read_file("a").unwrap();
        let rest = found.get(SECTOR..).unwrap_or_default();
        assert!(rest.is_empty() || rest == [1; SECTOR] || rest == [0; SECTOR], "{found:?}");
    }
}

#[test]
fn a_full_disk_writes_what_fits_and_then_refuses() {
    let disk = SimDisk::new();
    disk.set_capacity(4);
    let storage = disk.mount().unwrap();
    let file = storage.create("a").unwrap();
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 4);
    let refused = file.write_at(b"x", 4).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.write_at(b"xyz", 1).unwrap(), 3, "overwriting needs none");
    assert_eq!(storage.free_bytes(), Some(0));
    storage.remove("a").unwrap();
    assert_eq!(storage.free_bytes(), Some(4));
}

#[test]
fn overwriting_on_a_full_copy_on_write_disk_fails() {
    let disk = SimDisk::with_medium(Medium::CopyOnWrite);
    disk.set_capacity(4);
    let file = disk.mount().unwrap().create("a").unwrap();
    assert_eq!(file.write_at(b"abcd", 0).unwrap(), 4);
    let refused = file.write_at(b"x", 0).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
}
