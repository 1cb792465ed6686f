//! What holds from one owner of a place to the next, and through a loss of power.

use std::io;

use super::{
    Applies, Check, Place, Run, Seen, checks, content, expect, expect_error, file_with, names,
};
use crate::storage::{Storage, write_all_at};

type Checked = Result<Applies, Seen>;

/// Images that are looked at where more than one is possible.
const IMAGES: u64 = 16;

/// A block: what is synced in one does not suffer from what is written in another.
const BLOCK: usize = 4096;

checks! {
    Place(a_place_has_one_owner_until_the_last_file_is_closed)
        rule: "the holder of the storage, or of a file opened through it, owns the directory (promise P20)",
        remedy: "lock when it is opened, fail with `WouldBlock`, and let every file hold the lock";
    Place(the_next_owner_finds_what_was_written)
        rule: "files are read by the next owner as they were left",
        remedy: "write through to the place, with nothing that goes when the storage is dropped";
    Place(synced_bytes_survive_power_loss)
        rule: "bytes written survive power loss once `sync` of that file has returned `Ok`, with the size",
        remedy: "do not return from `sync` before the device has confirmed it (fdatasync)";
    Place(synced_names_survive_power_loss)
        rule: "create, rename and remove survive once `sync_dir` has returned `Ok`",
        remedy: "sync the directory itself (fsync of its descriptor)";
    Place(a_renamed_file_keeps_one_of_its_names)
        rule: "a rename is atomic: after power loss the file is found under one of its names",
        remedy: "do not rename by removing one name and making another";
    Place(unsynced_writes_leave_synced_blocks_alone)
        rule: "nothing that was synced changes because another block is written",
        remedy: "write no more than the blocks that were asked for";
}

fn a_place_has_one_owner_until_the_last_file_is_closed(place: &dyn Place) -> Checked {
    if !place.can_be_reopened() {
        return Ok(Applies::No);
    }
    let refused = |what| expect_error(what, place.open(), io::ErrorKind::WouldBlock);
    let storage = place.open()?;
    refused("opening a place that is open")?;
    let (created, opened) = (storage.create("a")?, storage.open("a")?);
    drop(storage);
    refused("opening it while two of its files are open")?;
    drop(created);
    refused("opening it while one of its files is open")?;
    drop(opened);
    place.open()?;
    Ok(Applies::Yes)
}

fn the_next_owner_finds_what_was_written(place: &dyn Place) -> Checked {
    if !place.can_be_reopened() {
        return Ok(Applies::No);
    }
    let storage = place.open()?;
    drop(file_with(&*storage, "a", b"content")?);
    drop(storage);
    let storage = place.open()?;
    expect("the names", names(&*storage)?, vec!["a".to_owned()])?;
    expect("the content", content(&*storage.open("a")?)?, b"content".to_vec())?;
    Ok(Applies::Yes)
}

/// Shows `look` the place as it may be found after power loss, several times. The storage stays open.
fn each_image(place: &dyn Place, look: impl Fn(&dyn Storage) -> Result<(), Seen>) -> Checked {
    for seed in 0..IMAGES {
        let Some(image) = place.after_power_loss(seed) else {
            return Ok(Applies::No);
        };
        look(&*image.open()?).map_err(|Seen(seen)| Seen(format!("image {seed}: {seen}")))?;
    }
    Ok(Applies::Yes)
}

fn synced_bytes_survive_power_loss(place: &dyn Place) -> Checked {
    let storage = place.open()?;
    let file = file_with(&*storage, "a", &[1; 3 * BLOCK])?;
    storage.sync_dir()?;
    file.sync()?;
    write_all_at(&*file, &[2; BLOCK], BLOCK as u64)?;
    file.set_size(2 * BLOCK as u64 + 1)?;
    file.sync()?;
    let wanted = [&[1; BLOCK][..], &[2; BLOCK], &[1]].concat();
    each_image(place, |image| {
        expect("what was synced", content(&*image.open("a")?)?, wanted.clone())
    })
}

fn synced_names_survive_power_loss(place: &dyn Place) -> Checked {
    let storage = place.open()?;
    for name in ["created", "old", "removed"] {
        file_with(&*storage, name, name.as_bytes())?.sync()?;
    }
    storage.sync_dir()?;
    storage.rename("old", "new")?;
    storage.remove("removed")?;
    storage.sync_dir()?;
    each_image(place, |image| {
        expect("the names", names(image)?, vec!["created".to_owned(), "new".to_owned()])?;
        expect("what was renamed", content(&*image.open("new")?)?, b"old".to_vec())
    })
}

fn a_renamed_file_keeps_one_of_its_names(place: &dyn Place) -> Checked {
    let storage = place.open()?;
    file_with(&*storage, "old", b"content")?.sync()?;
    storage.sync_dir()?;
    storage.rename("old", "new")?;
    each_image(place, |image| match &names(image)?[..] {
        [name] => expect("its content", content(&*image.open(name)?)?, b"content".to_vec()),
        names => Err(Seen(format!("the names are {names:?}"))),
    })
}

fn unsynced_writes_leave_synced_blocks_alone(place: &dyn Place) -> Checked {
    let storage = place.open()?;
    let file = file_with(&*storage, "a", &[1; 3 * BLOCK])?;
    file.sync()?;
    storage.sync_dir()?;
    write_all_at(&*file, &[2; BLOCK], BLOCK as u64)?;
    write_all_at(&*file, &[3; BLOCK], 3 * BLOCK as u64)?;
    each_image(place, |image| {
        let found = content(&*image.open("a")?)?;
        expect("the first block", found.get(..BLOCK), Some(&[1; BLOCK][..]))?;
        expect("the third block", found.get(2 * BLOCK..3 * BLOCK), Some(&[1; BLOCK][..]))
    })
}
