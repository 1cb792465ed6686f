//! What holds while a storage is open.

use std::{io, thread};

use super::{
    Applies, Check, Place, Run, Seen, checks, content, expect, expect_error, file_with, names,
};
use crate::storage::{EntryKind, Storage, read_exact_at, write_all_at};

type Checked = Result<Applies, Seen>;

checks! {
    Open(a_new_place_is_empty_and_can_be_named)
        rule: "`list` tells the files of the directory, `location` its name, `free_bytes` what can be allocated",
        remedy: "begin with no files, describe the place so that an operator finds it, and answer `None` where the free space is not known";
    Open(create_refuses_a_name_that_exists)
        rule: "`create` makes a file that must not exist",
        remedy: "fail with `AlreadyExists` and leave the file as it is (O_CREAT | O_EXCL)";
    Open(open_finds_what_exists_and_nothing_else)
        rule: "`open` opens a file that must exist",
        remedy: "fail with `NotFound`, and create nothing (no O_CREAT)";
    Open(a_file_is_the_same_through_every_handle)
        rule: "`open` opens for reading and writing: readers follow what the log writes",
        remedy: "keep one content per file, without a buffer in each handle";
    Open(rename_never_replaces)
        rule: "`rename` fails with `AlreadyExists` rather than replace a file",
        remedy: "use RENAME_NOREPLACE, or look before you rename: the owner is alone";
    Open(rename_moves_the_file)
        rule: "`rename` gives the file another name, with all that is in it",
        remedy: "move the name in one step; fail with `NotFound` if it is not there";
    Open(remove_takes_the_name_away)
        rule: "`remove` removes the name",
        remedy: "take it out of the list at once; fail with `NotFound` if it is not there";
    Open(list_tells_every_name_and_size)
        rule: "`list` tells the files with their sizes in bytes, in any order",
        remedy: "ask for the sizes when `list` is called, not when files are created";
    Place(list_tells_what_is_no_file)
        rule: "`list` tells whatever has a name, and its kind; `list_folder` what lies in a folder",
        remedy: "leave nothing out, and look at a link itself instead of what it leads to";
    Open(open_files_survive_rename_and_removal)
        rule: "a file is renamed while it is written, and removed while it is read",
        remedy: "tie an open file to the file itself, not to its name";
    Open(reads_end_at_the_end)
        rule: "`read_at` may read less than asked, and reads nothing at the end",
        remedy: "return `Ok(0)` at and behind the end, and at least one byte before it";
    Open(writes_land_at_their_offset)
        rule: "`write_at` writes at an offset, and changes nothing else",
        remedy: "use positioned writes; the number that is returned is of bytes that were written";
    Open(what_was_never_written_reads_as_zeros)
        rule: "`set_size` extends with zeros, and so does a write behind the end",
        remedy: "fill the hole with zeros, also where the file was longer once";
    Open(set_size_cuts_and_extends)
        rule: "`set_size` cuts or extends the file, and `size` tells it",
        remedy: "keep what lies before the new end as it is";
    Open(syncs_succeed_and_change_nothing)
        rule: "`sync` and `sync_dir` make durable what is there",
        remedy: "return `Ok` when it is durable, also if there is nothing to do; sync removed files, too";
    Open(threads_work_at_the_same_time)
        rule: "a storage and its files are used by the flush thread, the preparer and readers at once",
        remedy: "keep no position and no buffer that two calls could share";
}

fn a_new_place_is_empty_and_can_be_named(storage: &dyn Storage) -> Result<(), Seen> {
    expect("the files of a new place", names(storage)?, Vec::new())?;
    expect("the location is empty", storage.location().is_empty(), false)?;
    // A place that does not know says so; one that says zero takes no segment.
    expect(
        "space in a new place",
        storage.free_bytes(),
        storage.free_bytes().filter(|free| *free > 0),
    )
}

fn create_refuses_a_name_that_exists(storage: &dyn Storage) -> Result<(), Seen> {
    let file = file_with(storage, "a", b"content")?;
    expect_error("creating `a` twice", storage.create("a"), io::ErrorKind::AlreadyExists)?;
    expect("the content afterwards", content(&*file)?, b"content".to_vec())
}

fn open_finds_what_exists_and_nothing_else(storage: &dyn Storage) -> Result<(), Seen> {
    expect_error("opening what is not there", storage.open("a"), io::ErrorKind::NotFound)?;
    expect("the names after that", names(storage)?, Vec::new())?;
    file_with(storage, "a", b"content")?;
    expect("what `open` finds", content(&*storage.open("a")?)?, b"content".to_vec())
}

fn a_file_is_the_same_through_every_handle(storage: &dyn Storage) -> Result<(), Seen> {
    let (one, other) = (storage.create("a")?, storage.open("a")?);
    for (writer, wanted) in [(&one, b"first"), (&other, b"other")] {
        write_all_at(&**writer, wanted, 0)?;
        expect("what one handle reads", content(&*one)?, wanted.to_vec())?;
        expect("what the other handle reads", content(&*other)?, wanted.to_vec())?;
    }
    Ok(())
}

fn rename_never_replaces(storage: &dyn Storage) -> Result<(), Seen> {
    file_with(storage, "a", b"of a")?;
    file_with(storage, "b", b"of b")?;
    let renamed = storage.rename("a", "b");
    expect_error("renaming `a` to an existing `b`", renamed, io::ErrorKind::AlreadyExists)?;
    for (name, wanted) in [("a", b"of a"), ("b", b"of b")] {
        expect("the content afterwards", content(&*storage.open(name)?)?, wanted.to_vec())?;
    }
    Ok(())
}

fn rename_moves_the_file(storage: &dyn Storage) -> Result<(), Seen> {
    file_with(storage, "a", b"content")?;
    storage.rename("a", "b")?;
    expect("the names", names(storage)?, vec!["b".to_owned()])?;
    expect("the content", content(&*storage.open("b")?)?, b"content".to_vec())?;
    expect_error("renaming what has gone", storage.rename("a", "c"), io::ErrorKind::NotFound)?;
    expect("the old name is free", content(&*storage.create("a")?)?, Vec::new())
}

fn remove_takes_the_name_away(storage: &dyn Storage) -> Result<(), Seen> {
    file_with(storage, "a", b"content")?;
    storage.remove("a")?;
    expect("the names", names(storage)?, Vec::new())?;
    expect_error("opening it", storage.open("a"), io::ErrorKind::NotFound)?;
    expect_error("removing it again", storage.remove("a"), io::ErrorKind::NotFound)?;
    expect("a new file of that name", content(&*storage.create("a")?)?, Vec::new())
}

fn list_tells_every_name_and_size(storage: &dyn Storage) -> Result<(), Seen> {
    let mut wanted = Vec::new();
    for number in 0..50_u64 {
        let name = format!("{number:020}.wal");
        storage.create(&name)?.set_size(number)?;
        wanted.push((name, number, EntryKind::File));
    }
    let mut found: Vec<_> =
        storage.list()?.into_iter().map(|entry| (entry.name, entry.size, entry.kind)).collect();
    found.sort();
    expect("names, sizes and kinds", found, wanted)
}

fn list_tells_what_is_no_file(place: &dyn Place) -> Checked {
    let all =
        [("folder", EntryKind::Folder), ("link", EntryKind::Link), ("pipe", EntryKind::Other)];
    let put: Vec<_> = all.into_iter().filter(|(name, kind)| place.put(name, *kind)).collect();
    if put.is_empty() {
        return Ok(Applies::No);
    }
    let storage = place.open()?;
    let mut found: Vec<_> = storage.list()?.into_iter().map(|one| (one.name, one.kind)).collect();
    found.sort();
    let wanted: Vec<_> = put.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    expect("names and kinds", found, wanted)?;
    for (name, kind) in put {
        expect_error("creating it", storage.create(name), io::ErrorKind::AlreadyExists)?;
        expect("it is opened as a file", storage.open(name).is_ok(), false)?;
        if kind == EntryKind::Folder {
            expect("what lies in the folder", storage.list_folder(name)?, Vec::new())?;
            place.put("folder/file", EntryKind::File);
            let inner = storage.list_folder(name)?.into_iter().map(|one| (one.name, one.kind));
            let wanted = vec![("file".to_owned(), EntryKind::File)];
            expect("what lies in the folder", inner.collect(), wanted)?;
        }
    }
    file_with(&*storage, "file", b"")?;
    expect("a file is read as a folder", storage.list_folder("file").is_ok(), false)?;
    Ok(Applies::Yes)
}

fn open_files_survive_rename_and_removal(storage: &dyn Storage) -> Result<(), Seen> {
    let file = file_with(storage, "a", b"content")?;
    storage.rename("a", "b")?;
    write_all_at(&*file, b"C", 0)?;
    expect("read under its new name", content(&*storage.open("b")?)?, b"Content".to_vec())?;
    storage.remove("b")?;
    file_with(storage, "b", b"another file")?;
    expect("read after the removal", content(&*file)?, b"Content".to_vec())?;
    write_all_at(&*file, b"c", 0)?;
    file.sync()?;
    expect("another file", content(&*storage.open("b")?)?, b"another file".to_vec())
}

fn reads_end_at_the_end(storage: &dyn Storage) -> Result<(), Seen> {
    let file = file_with(storage, "a", b"abcde")?;
    let mut buffer = [0xee; 16];
    for offset in [5, 6, 1 << 40] {
        expect("bytes read at or behind the end", retry(|| file.read_at(&mut buffer, offset))?, 0)?;
    }
    expect("the buffer after that", buffer, [0xee; 16])?;
    for offset in 0..5 {
        let read = retry(|| file.read_at(&mut buffer, offset as u64))?;
        expect("there are bytes before the end", (1..=5 - offset).contains(&read), true)?;
        expect("the bytes", &buffer[..read], &b"abcde"[offset..offset + read])?;
    }
    Ok(())
}

/// `EINTR` is no fault.
fn retry<T>(mut action: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match action() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn writes_land_at_their_offset(storage: &dyn Storage) -> Result<(), Seen> {
    let file = file_with(storage, "a", &[b'.'; 10])?;
    write_all_at(&*file, b"xyz", 4)?;
    write_all_at(&*file, b"ab", 0)?;
    expect("the content", content(&*file)?, b"ab..xyz...".to_vec())?;
    let written = retry(|| file.write_at(b"12345", 8))?;
    let wanted = [&b"ab..xyz."[..], &b"12345"[..written.min(5)]].concat();
    let end = wanted.len().max(10);
    let wanted: Vec<u8> = wanted.into_iter().chain(*b"..........").take(end).collect();
    expect("the content after a write across the end", content(&*file)?, wanted)
}

fn what_was_never_written_reads_as_zeros(storage: &dyn Storage) -> Result<(), Seen> {
    let file = file_with(storage, "a", b"abcdef")?;
    file.set_size(2)?;
    file.set_size(6)?;
    expect("cut and extended again", content(&*file)?, b"ab\0\0\0\0".to_vec())?;
    write_all_at(&*file, b"z", 9000)?;
    let found = content(&*file)?;
    expect("bytes that are not zero", found.iter().filter(|byte| **byte != 0).count(), 3)?;
    expect("the size", found.len(), 9001)
}

fn set_size_cuts_and_extends(storage: &dyn Storage) -> Result<(), Seen> {
    let file = file_with(storage, "a", b"abcdef")?;
    for size in [3, 3, 100, 0, 5] {
        file.set_size(size)?;
        expect("the size", file.size()?, size)?;
    }
    write_all_at(&*file, b"12345678", 0)?;
    file.set_size(4)?;
    expect("what lies before the end", content(&*file)?, b"1234".to_vec())
}

fn syncs_succeed_and_change_nothing(storage: &dyn Storage) -> Result<(), Seen> {
    storage.sync_dir()?;
    let file = storage.create("a")?;
    file.sync()?;
    write_all_at(&*file, b"content", 0)?;
    for _ in 0..2 {
        file.sync()?;
        storage.sync_dir()?;
    }
    storage.rename("a", "b")?;
    storage.sync_dir()?;
    expect("the content", content(&*storage.open("b")?)?, b"content".to_vec())?;
    storage.remove("b")?;
    storage.sync_dir()?;
    file.sync()?;
    expect("the names", names(storage)?, Vec::new())
}

/// Threads, and how many blocks each writes. More than a position that is shared by accident survives.
const THREADS: u8 = 4;
const BLOCKS: u64 = 200;

fn threads_work_at_the_same_time(storage: &dyn Storage) -> Result<(), Seen> {
    let file = storage.create("shared")?;
    let worked = thread::scope(|scope| {
        let file = &*file;
        let worker = |number| move || work(storage, file, number);
        let workers: Vec<_> = (0..THREADS).map(|number| scope.spawn(worker(number))).collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended.collect::<Vec<_>>()
    });
    for result in worked {
        result.unwrap_or_else(|_| Err(Seen("a thread panicked".to_owned())))?;
    }
    expect("the names", names(storage)?, vec!["shared".to_owned()])?;
    let found = content(&*file)?;
    let owner = |block: usize| (block % usize::from(THREADS)) as u8 + 1;
    let wrong = found.chunks(64).enumerate().find(|(at, block)| **block != [owner(*at); 64]);
    expect("a block with the bytes of another", wrong.map(|(at, _)| at), None)
}

/// One thread: writes its blocks of a shared file, reads them back, and has a file of its own meanwhile.
fn work(
    storage: &dyn Storage,
    file: &dyn crate::storage::StorageFile,
    number: u8,
) -> Result<(), Seen> {
    let (name, renamed) = (format!("{number}"), format!("{number} renamed"));
    for round in 0..BLOCKS {
        let offset = (round * u64::from(THREADS) + u64::from(number)) * 64;
        write_all_at(file, &[number + 1; 64], offset)?;
        let mut block = [0; 64];
        read_exact_at(file, &mut block, offset)?;
        expect("a block that was just written", block, [number + 1; 64])?;
        if round % 20 == 0 {
            file_with(storage, &name, name.as_bytes())?.sync()?;
            storage.rename(&name, &renamed)?;
            expect("its own file", content(&*storage.open(&renamed)?)?, name.clone().into_bytes())?;
            storage.remove(&renamed)?;
            storage.sync_dir()?;
        }
    }
    Ok(())
}
