//! Snapshot files on a disk that loses power, and with any damage.

use std::sync::Arc;

use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, Persist, Random, Recorder, SimDisk,
    errno,
};
use bytes::Bytes;

use super::format::{BLOCK_HEAD, Block, CHECKSUM, Kind};
use super::*;
use crate::store::{CommitNo, Row, Stamp};

const LOG: [u8; 16] = [7; 16];

/// Rows of all sizes, in the order of their keys.
fn rows(count: u64, seed: u64) -> Vec<Row> {
    let mut random = Random::new(seed);
    let row = |at: u64| {
        let size = if random.one_in(50) { 100_000 } else { random.of(0..=40) };
        let value = random.bytes(size).into();
        let stamp = Stamp::of(Lsn::new(1 + random.below(count)));
        Row { key: Bytes::from(format!("key {at:08}")), value, stamp }
    };
    (0..count).map(row).collect()
}

fn write(storage: &Arc<dyn Storage>, lsn: Lsn, rows: &[Row]) -> Result<u64, SnapshotError> {
    let mut writer = SnapshotWriter::begin(Arc::clone(storage), LOG, lsn)?;
    let mut fill = || {
        rows.chunks(100).try_for_each(|piece| writer.add(piece))?;
        for (token, complete) in [("one", false), ("two", true)] {
            writer.add_tokens(&[(Token::new(token).unwrap(), Lsn::FIRST)], complete)?;
        }
        writer.finish()
    };
    match fill() {
        Ok(written) => {
            assert_eq!(written.rows, rows.len() as u64);
            Ok(written.bytes)
        }
        Err(error) => {
            writer.discard();
            Err(error)
        }
    }
}

fn read(storage: &dyn Storage, lsn: Lsn) -> Result<Vec<Row>, SnapshotError> {
    Ok(read_all(storage, lsn)?.0)
}

type Tokens = Vec<(Token, Lsn)>;

fn read_all(storage: &dyn Storage, lsn: Lsn) -> Result<(Vec<Row>, Tokens), SnapshotError> {
    let mut reader = SnapshotReader::open(storage, lsn)?;
    let said = reader.rows();
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    while let Some(section) = reader.next_block()? {
        match section {
            Section::Rows(more) => rows.extend(more),
            Section::Tokens { tokens, .. } => all.extend(tokens),
            Section::Branches(_) => {}
        }
    }
    let (done, of) = reader.progress();
    assert_eq!((done, said), (of, rows.len() as u64));
    Ok((rows, all))
}

#[test]
fn what_was_written_is_read_again() {
    for count in [0, 1, 1000] {
        let disk = SimDisk::new();
        let storage = disk.mount().unwrap();
        let (rows, lsn) = (rows(count, count), Lsn::new(count.max(1)));
        let size = write(&storage, lsn, &rows).unwrap();
        let (found, tokens) = read_all(&*storage, lsn).unwrap();
        assert_eq!(found, rows);
        let token = |token| (Token::new(token).unwrap(), Lsn::FIRST);
        assert_eq!(tokens, [token("one"), token("two")]);
        assert_eq!(disk.read_file(&name_of(lsn)).unwrap().len() as u64, size);
        // The same once more takes the place of a file that has gone bad.
        disk.rot(&name_of(lsn), 20, 1);
        write(&storage, lsn, &rows).unwrap();
        assert_eq!(disk.names(), [name_of(lsn)]);
        assert_eq!(read(&*storage, lsn).unwrap(), rows);
    }
}

#[test]
fn the_bytes_of_a_file_stay_what_they_are() {
    let disk = SimDisk::new();
    let row = |key: &'static str, value: &'static str, lsn| Row {
        key: key.into(),
        value: value.into(),
        stamp: Stamp::of(Lsn::new(lsn)),
    };
    write(&disk.mount().unwrap(), Lsn::new(9), &[row("a", "xyz", 3), row("b", "", 9)]).unwrap();
    let hex: String = disk
        .read_file("snapshot-0000000000000009")
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, GOLDEN.split_whitespace().collect::<String>());
}

/// By hand: the header; a block with two rows; two blocks with a token; the end.
const GOLDEN: &str = "
    41575458534e4150 0100000000000000 07070707070707070707070707070707 09000000000000000e22b3d0
    424c434b00000000010000000200000025000000 010000000300000003000000000000006178797a 0100000000000000090000000000000062 604b1572
    424c434b0100000002000000010000000d000000 000100000000000000036f6e65 8d23b22b
    424c434b0200000002000000010000000d000000 0101000000000000000374776f f39d8a38
    454e442103000000 0200000000000000e7d032e6 053a3977";

#[test]
fn p5_no_changed_bit_and_no_missing_byte_goes_unseen() {
    let disk = SimDisk::new();
    let (rows, lsn) = (rows(30, 3), Lsn::new(30));
    let storage = disk.mount().unwrap();
    write(&storage, lsn, &rows).unwrap();
    let good = disk.read_file(&name_of(lsn)).unwrap();
    let mut refused = 0;
    let mut try_bytes = |bytes: Vec<u8>, what: &str| {
        let changed = bytes != good;
        disk.write_file(&name_of(lsn), bytes);
        match read(&*storage, lsn) {
            Ok(_) => assert!(!changed, "{what}"),
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().contains("reading it failed"), "{what}: {error}");
            }
        }
    };
    for at in (0..good.len()).filter(|at| *at < 400 || *at % 97 == 0 || at + 200 > good.len()) {
        for bit in [0, 7] {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            try_bytes(bytes, &format!("bit {bit} of byte {at}"));
        }
        try_bytes(good[..at].to_vec(), &format!("cut at {at}"));
    }
    try_bytes([&good[..], b"\0"].concat(), "one byte more");
    assert!(refused > 1000, "{refused}");
}

#[test]
fn any_bytes_behind_a_good_header_give_an_error_and_no_panic() {
    let disk = SimDisk::new();
    let storage = disk.mount().unwrap();
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let mut bytes = format::header(LOG, Lsn::new(5));
        for _ in 0..random.of(0..=4) {
            match random.below(4) {
                0 => bytes.extend(b"BLCK\0\0\0\0"),
                1 => bytes.extend(b"END!"),
                2 => bytes.extend(u32::MAX.to_le_bytes()),
                _ => bytes.extend(random.bytes(9)),
            }
        }
        // Half of them come to the blocks.
        if random.below(2) == 0 {
            bytes.extend(format::end(0, 1, 0));
        }
        disk.write_file(&name_of(Lsn::new(5)), bytes);
        assert!(read(&*storage, Lsn::new(5)).is_err(), "seed {seed}");
    }
}

/// A block of these rows, with its number; and what it adds to the sum of sums.
fn block(number: u32, rows: &[(&'static str, u64)], sums: &mut u32) -> Vec<u8> {
    let mut block = Block::new(Kind::Rows);
    for (key, lsn) in rows {
        let stamp = Stamp::of(Lsn::new(*lsn));
        block.push(&Row { key: (*key).into(), value: "v".into(), stamp }, Lsn::new(*lsn));
    }
    let bytes = block.finish(number);
    *sums = format::chain(*sums, u32::from_le_bytes(*bytes.last_chunk().unwrap()));
    bytes
}

/// Bytes behind a new checksum, as only somebody who knows the format would write them.
fn sealed(mut bytes: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let length = bytes.len() - CHECKSUM;
    bytes.truncate(length);
    change(&mut bytes);
    let sum = crc32fast::hash(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

#[test]
fn p5_each_rule_of_the_format_is_held_where_every_checksum_fits() {
    let mut sums = 0;
    let (a, b) = (block(0, &[("a", 1)], &mut sums), block(1, &[("b", 2)], &mut sums));
    let end = format::end(2, 2, sums);
    let one = |row| {
        let mut sums = 0;
        let block = block(0, &[row], &mut sums);
        (block, sums)
    };
    let same_key = block(1, &[("a", 2)], &mut one(("a", 1)).1);
    let (too_new, _) = one(("a", 6));
    let long_row = sealed(a.clone(), |bytes| bytes[BLOCK_HEAD] = 200);
    let long_value = sealed(a.clone(), |bytes| bytes[BLOCK_HEAD + 4] = 2);
    let short_row = sealed(a.clone(), |bytes| bytes[BLOCK_HEAD] = 0);
    let long_block = sealed(a.clone(), |bytes| bytes[16..20].fill(0xff));
    let unknown = sealed(a.clone(), |bytes| bytes[8] = 4);
    let mut tokens = Block::new(Kind::Tokens);
    tokens.put_tokens(&[(Token::new("t").unwrap(), Lsn::new(6))], true);
    let new_token = tokens.finish(0);
    let tokens = sealed(new_token.clone(), |bytes| bytes[BLOCK_HEAD + 1] = 5);
    let long_token = sealed(tokens.clone(), |bytes| bytes[BLOCK_HEAD + 9] = 2);
    let cut_token = sealed(tokens.clone(), |bytes| bytes[BLOCK_HEAD + 9] = 0);
    let two_rows = sealed(a.clone(), |bytes| bytes[12] = 2);
    for (parts, reason) in [
        (vec![&a, &b, &end], None),
        (vec![&b, &a, &end], Some("not the block that comes next")),
        (vec![&a, &a, &b, &end], Some("not the block that comes next")),
        (vec![&a, &end], Some("does not fit what comes before")),
        (vec![&a, &b], Some("the checksum of the end does not fit")),
        (vec![&unknown, &b, &end], Some("a block of kind 4, which this program does not know")),
        (vec![&tokens, &b, &end], Some("not in the order of their kinds")),
        (vec![&new_token, &end], Some("a token is newer than the snapshot")),
        (vec![&long_token, &end], Some("a token is longer than its block")),
        (vec![&cut_token, &end], Some("a token ends too early")),
        (vec![&a, &same_key, &end], Some("not in order")),
        (vec![&too_new, &end], Some("newer than the snapshot")),
        (vec![&long_row, &b, &end], Some("longer than its block")),
        (vec![&long_value, &b, &end], Some("longer than its block")),
        (vec![&short_row, &b, &end], Some("a row ends too early")),
        (vec![&long_block, &b, &end], Some("as long as this one says")),
        (vec![&two_rows, &b, &end], Some("another number of entries")),
        (vec![&a, &b, &end, &end], Some("something follows")),
    ] {
        let disk = SimDisk::new();
        let bytes =
            [format::header(LOG, Lsn::new(5)), parts.into_iter().flatten().copied().collect()];
        disk.write_file(&name_of(Lsn::new(5)), bytes.concat());
        let result = read(&*disk.mount().unwrap(), Lsn::new(5)).map_err(|error| error.to_string());
        match (&result, reason) {
            (Ok(rows), None) => assert_eq!(rows.len(), 2),
            (Err(text), Some(reason)) => assert!(text.contains(reason), "{reason}: {text}"),
            _ => panic!("{reason:?}: {result:?}"),
        }
    }
}

#[test]
fn a_file_of_another_log_and_one_of_a_newer_version_are_refused_by_name() {
    let disk = SimDisk::new();
    let storage = disk.mount().unwrap();
    let lsn = Lsn::new(4);
    write(&storage, lsn, &[]).unwrap();
    let reader = SnapshotReader::open(&*storage, lsn).unwrap();
    reader.check_log(LOG).unwrap();
    let refused = reader.check_log([8; 16]).unwrap_err();
    assert!(matches!(&refused.fault, SnapshotFault::Foreign { .. }), "{refused}");

    let mut bytes = disk.read_file(&name_of(lsn)).unwrap();
    bytes[8] = 2;
    disk.write_file(&name_of(lsn), bytes);
    let refused = SnapshotReader::open(&*storage, lsn).unwrap_err();
    assert!(matches!(&refused.fault, SnapshotFault::Newer { version: 2, .. }), "{refused}");
    assert!(refused.to_string().contains("snapshot-0000000000000004"), "{refused}");

    disk.write_file(&name_of(Lsn::new(5)), format::header(LOG, lsn));
    let refused = SnapshotReader::open(&*storage, Lsn::new(5)).unwrap_err();
    assert!(refused.to_string().contains("another LSN"), "{refused}");
}

#[test]
fn p25_a_row_that_is_newer_than_the_snapshot_is_refused() {
    let storage = SimDisk::new().mount().unwrap();
    for (stamp, is_taken) in [
        (Stamp::of(Lsn::new(5)), true),
        (Stamp::of(Lsn::new(6)), false),
        (Stamp::pending(CommitNo(0)), false),
    ] {
        let row = Row { key: "a".into(), value: "1".into(), stamp };
        let written = write(&storage, Lsn::new(5), &[row]);
        assert_eq!(written.is_ok(), is_taken, "{stamp:?}: {written:?}");
        if let Err(refused) = written {
            assert!(
                refused.to_string().contains("a row is newer than the snapshot: it can"),
                "{refused}"
            );
        }
    }
}

#[test]
fn p19_after_power_loss_at_any_moment_there_is_the_old_snapshot_or_the_new_one_whole() {
    let disk = SimDisk::new();
    let (old, new) = (rows(40, 1), rows(60, 2));
    write(&disk.mount().unwrap(), Lsn::new(40), &old).unwrap();
    let recorder = Recorder::new(disk.mount().unwrap()).unwrap();
    let log = recorder.log();
    let storage: Arc<dyn Storage> = Arc::new(recorder);
    write(&storage, Lsn::new(60), &new).unwrap();
    let finished = log.len();
    remove_all_but(&*storage, &[Lsn::new(60)]).unwrap();

    for prefix in 0..=log.len() {
        let torn = (0..20).map(|seed| Persist::Torn { seed });
        for persist in [Persist::Dropped, Persist::Kept].into_iter().chain(torn) {
            let image = log.image(prefix, persist).mount().unwrap();
            let found = list(&*image).unwrap();
            let newest = read(&*image, found[0]).unwrap();
            let expected = if found[0] == Lsn::new(60) { &new } else { &old };
            assert!(newest == *expected, "after {prefix} operations, {persist:?}");
            if prefix >= finished {
                assert_eq!(found[0], Lsn::new(60), "after {prefix} operations, {persist:?}");
            }
            remove_unfinished(&*image).unwrap();
            remove_all_but(&*image, &found[..1]).unwrap();
            let left: Vec<_> = image.list().unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(left, [name_of(found[0])]);
        }
    }
}

#[test]
fn a_fault_at_any_step_is_told_with_its_place_and_leaves_no_snapshot() {
    let rows = rows(40, 1);
    for op in [FaultOp::Create, FaultOp::Write, FaultOp::Sync, FaultOp::Rename, FaultOp::SyncDir] {
        let disk = SimDisk::new();
        let plan = FaultPlan::new();
        let storage: Arc<dyn Storage> =
            Arc::new(FaultyStorage::mount(&disk, plan.clone()).unwrap());
        plan.add(FaultRule::on(op, FaultEffect::Fail(errno::EIO)).times(1));
        let failed = write(&storage, Lsn::new(40), &rows).unwrap_err();
        assert!(failed.to_string().contains("snapshot-0000000000000028.unfinished"), "{failed}");
        assert_eq!(plan.hits(), 1, "{op:?}");
        assert_eq!(disk.names(), [""; 0], "what was written is removed");
        drop(storage);
        let after = disk.crash(Persist::Dropped).mount().unwrap();
        assert_eq!(list(&*after).unwrap(), [], "{op:?}");
        // A second attempt needs nothing to be cleared up.
        let again = disk.mount().unwrap();
        write(&again, Lsn::new(40), &rows).unwrap();
        assert_eq!(read(&*again, Lsn::new(40)).unwrap(), rows);
    }
}
