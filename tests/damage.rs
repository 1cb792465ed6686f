//! Guards P2, P9, P10, P11, P13, P14, P20: damage that takes more than one change, and what a salvage must not do.
//! Damage is refused with segment, offset and LSN; the salvage policy cuts there, keeps what it takes out of
//! the log, gives no LSN out again, and leaves a log that works. The table of single changes is in
//! `tests/open_errors.rs`.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use actix_wal::DamagePolicy::{Refuse, Salvage};
use actix_wal::error::DamageKind;
use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::format::segment::{segment_name, set_aside_name};
use actix_wal::{Lsn, OpenError};
use test_support::refusals::{copy, first_lsn, refuse, remove, salvage, salvaging};
use test_support::small_logs::{
    change, closed_log, commit, config, expected, frames, killed_log, live, open, recover,
    recover_from, renumbered, run, segments, unused, used,
};

/// Records in the log that is damaged: four segments, the last one with a few frames.
const RECORDS: u64 = 27;

/// P10, and okaywal, raft-engine, wal-db, walrus: early damage must not silently end the log.
#[test]
fn a_flipped_bit_in_any_frame_but_the_last_is_refused_at_that_frame() {
    let sound = killed_log(RECORDS);
    let all = frames(&sound);
    let (last, before) = all.split_last().expect("there are frames");
    for frame in before {
        for at in [1, 20, 60, 101, 200, 104 + frame.header.payload_len as usize + 3] {
            if at >= 104 + frame.header.payload_len as usize + 4 {
                continue; // Zeros that fill the block.
            }
            let disk = sound.fork();
            change(&disk, frame.segment, |bytes| bytes[frame.offset as usize + at] ^= 4);
            let name = format!("bit in byte {at} of {frame:?}");
            let refused = refuse(&name, &disk);
            let lsn = frame.header.first_lsn;
            let place = (refused.segment, refused.offset, refused.lsn);
            assert_eq!(place, (frame.segment, frame.offset, lsn), "{name}: {refused}");
            if at == 60 {
                salvage(&name, &disk, &refused, lsn.get(), RECORDS);
            }
        }
    }
    let disk = sound.fork();
    change(&disk, last.segment, |bytes| bytes[last.offset as usize + 200] ^= 4);
    let recovered = recover(&disk, Refuse).expect("nothing vouches for the last frame");
    let (segment, torn) = recovered.report.torn_tail.expect("it is reported");
    assert_eq!((segment, torn.possibly_acknowledged), (last.segment, true));
    assert_eq!(recovered.records, expected(1..RECORDS));
}

#[test]
fn the_seal_makes_damage_to_the_last_batch_loud() {
    let disk = closed_log(3);
    let last = frames(&disk).into_iter().rfind(|frame| frame.header.count > 0).expect("a record");
    change(&disk, last.segment, |bytes| bytes[last.offset as usize + 200] ^= 4);
    let refused = refuse("sealed", &disk);
    assert_eq!((refused.offset, refused.lsn.get()), (last.offset, 3), "{refused}");
}

#[test]
fn a_segment_of_a_later_version_is_named_and_never_salvaged() {
    let disk = killed_log(RECORDS);
    change(&disk, 2, |bytes| bytes[8] = 9);
    let before = disk.names();
    for policy in [Refuse, Salvage, Refuse] {
        match recover(&disk, policy) {
            Err(OpenError::NewerVersion { file, .. }) => assert_eq!(file, segment_name(2)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(disk.names(), before);
}

/// The policy is no licence to lose anything: what is sound stays, also where a checkpoint has removed
/// the beginning, and its low-water mark stands in an empty frame only.
#[test]
fn the_salvage_policy_does_nothing_to_a_sound_log() {
    let disk = SimDisk::new();
    let killed = run(async {
        let wal = open(&disk, config()).await;
        commit(&wal, RECORDS).await;
        wal.checkpoint(actix_wal::Lsn::new(16)).await.expect("released");
        // One of the two segments is kept to be used again.
        while segments(&disk).iter().filter(|segment| segment.sequence < 3).count() > 1 {
            actix::clock::sleep(std::time::Duration::from_millis(1)).await;
        }
        let killed = disk.fork();
        wal.close().await.expect("closes");
        killed
    });
    for disk in [killed, disk] {
        let recovered = recover(&disk, Salvage).expect("it opens");
        assert!(recovered.report.salvaged.is_none(), "{:?}", recovered.report);
        assert_eq!(recovered.records, expected(17..=RECORDS));
    }
}

#[test]
fn a_log_can_be_salvaged_twice_at_the_same_place() {
    let disk = killed_log(RECORDS);
    let spare = disk.fork();
    change(&disk, 2, |bytes| bytes[1600] ^= 1);
    recover(&disk, Salvage).expect("salvaged");
    copy(&spare, 3, &disk, 3);
    recover(&disk, Salvage).expect("salvaged once more, with a restored segment in the way");
    change(&disk, 2, |bytes| bytes[1100] ^= 1);
    let recovered = recover(&disk, Salvage).expect("salvaged again");
    assert_eq!(recovered.records, expected(1..first_lsn(&spare, 2) + 1));
}

/// P10, and okaywal, where a torn tail makes the open fail.
#[test]
fn a_last_write_torn_at_any_byte_is_cut_reported_and_kept_as_evidence() {
    let disk = SimDisk::new();
    let sound = run(async {
        let wal = open(&disk, config()).await;
        commit(&wal, 3).await;
        wal.commit(vec![7; 1200]).await.expect("durable");
        let killed = disk.fork();
        wal.close().await.expect("closes");
        killed
    });
    let last = *frames(&sound).last().expect("a frame");
    assert_eq!(last.len, 3 * 512);
    let written = 104 + last.header.payload_len as usize + 4;
    for kept in (0..written).step_by(7).chain([1, 103, 104, 511, 512, 1024, written - 1]) {
        let disk = sound.fork();
        let from = last.offset as usize + kept;
        change(&disk, last.segment, |bytes| bytes[from..].fill(0));
        let torn = segments(&disk)[0].bytes[last.offset as usize..from].to_vec();
        let recovered = recover(&disk, Refuse).unwrap_or_else(|error| panic!("{kept}: {error}"));
        assert_eq!(recovered.records, expected(1..=3), "{kept}");
        assert!(recovered.report.next_lsn > last.header.last_lsn(), "{kept}: P9");
        match recovered.report.torn_tail {
            None => assert_eq!(kept, 0, "only nothing at all is no torn tail"),
            Some((segment, tail)) => {
                assert_eq!(segment, last.segment, "{kept}");
                assert!(tail.bytes >= kept as u64, "{kept}: {tail:?}");
                let evidence = segments(&disk)[0].bytes[last.offset as usize..].to_vec();
                assert!(evidence.starts_with(&torn), "{kept}: the evidence is gone");
            }
        }
        let again = recover(&disk, Refuse).expect("what was cut stays cut");
        assert_eq!(again.records, expected(1..=3), "{kept}");
        assert!(again.report.torn_tail.is_none(), "{kept}: it is reported once");
    }
}

/// A start frame that was torn lies in a segment of its own; the log begins behind it and closes cleanly.
#[test]
fn a_torn_start_frame_is_reported_once_and_a_clean_close_after_it_is_clean() {
    for torn_one in [0, 1] {
        let disk = killed_log(5);
        let unused = unused(&disk);
        change(&disk, unused[torn_one].sequence, |bytes| bytes[512..700].fill(0x5a));
        run(async {
            let wal = open(&disk, config()).await;
            let torn = wal.recovery_report().torn_tail;
            assert_eq!(torn.map(|(segment, _)| segment), Some(unused[torn_one].sequence));
            wal.close().await.expect("closes");
        });
        let recovered = recover(&disk, Refuse).expect("it opens");
        assert!(recovered.report.clean, "{:?}", recovered.report);
        assert_eq!(recovered.records, expected(1..=5));
    }
}

/// A segment of the same log, number and LSNs, but from a copy of the directory that went its own way.
#[test]
fn a_segment_from_another_history_of_the_same_log_contradicts_its_neighbours() {
    let disk = closed_log(5);
    let other = disk.fork();
    for disk in [&disk, &other] {
        live(disk, 27);
    }
    let used = used(&disk);
    let middle = used[used.len() - 2].sequence;
    copy(&other, middle, &disk, middle);
    let refused = refuse("another history", &disk);
    assert!(matches!(refused.kind, DamageKind::Contradiction { .. }), "{refused}");
    assert_eq!((refused.segment, refused.offset), (middle, 512), "{refused}");
    salvage("another history", &disk, &refused, first_lsn(&disk, middle), RECORDS);
}

/// The last segment may hold nothing, or nothing but what was carried over: it says all the same what lay
/// before it.
#[test]
fn p14_segments_missing_before_one_without_records_of_its_own_are_refused() {
    for disk in [closed_log(10), killed_log(10)] {
        recover(&disk, Refuse).expect("another segment begins");
        let used = used(&disk);
        let (last, before) = used.split_last().expect("a segment");
        before.iter().for_each(|segment| remove(&disk, segment.sequence));
        let refused = refuse("only the last one is left", &disk);
        assert!(matches!(refused.kind, DamageKind::MissingSegment), "{refused}");
        assert_eq!(refused.segment, last.sequence - 1, "{refused}");
    }
}

#[test]
fn p14_a_segment_missing_behind_the_leftover_of_a_failed_directory_sync_is_refused() {
    let disk = killed_log(10);
    let begun = used(&disk).pop();
    let leftover = begun.expect("a segment").sequence;
    change(&disk, leftover, |bytes| bytes.truncate(512));
    remove(&disk, leftover + 1);
    let refused = refuse("what was begun behind the leftover is gone", &disk);
    assert!(matches!(refused.kind, DamageKind::MissingSegment), "{refused}");
    assert_eq!(refused.segment, leftover + 1, "{refused}");
}

#[test]
fn p14_a_last_segment_of_another_history_is_refused_although_it_holds_no_record() {
    let disk = closed_log(5);
    let other = disk.fork();
    for disk in [&disk, &other] {
        live(disk, 3);
        recover(disk, Refuse).expect("another segment begins");
    }
    let last = frames(&disk).last().expect("a start frame").segment;
    copy(&other, last, &disk, last);
    let refused = refuse("another history", &disk);
    assert!(matches!(refused.kind, DamageKind::Contradiction { .. }), "{refused}");
    assert_eq!((refused.segment, refused.offset), (last, 512), "{refused}");
}

#[test]
fn p11_what_was_salvaged_is_opened_again_although_nothing_was_appended() {
    let disk = killed_log(RECORDS);
    // It looks as if it had only been prepared, and would do to go on with.
    change(&disk, 2, |bytes| bytes[512..].fill(0));
    let salvaged = recover(&disk, Salvage).expect("salvaged");
    let again = recover(&disk, Refuse).expect("no number is left out");
    assert_eq!(again.records, salvaged.records);
}

#[test]
fn p11_no_segment_is_begun_right_before_a_number_that_is_left_out() {
    let disk = killed_log(5);
    let unused = unused(&disk);
    let [first, second] = &unused[..] else { panic!("two are prepared: {unused:?}") };
    let later = second.sequence + 1;
    disk.write_file(&segment_name(later), renumbered(&second.bytes, later));
    remove(&disk, second.sequence);
    for _ in 0..3 {
        let recovered = recover(&disk, Refuse).expect("nothing is missing that was ever used");
        assert_eq!(recovered.records, expected(1..=5));
    }
    assert!(frames(&disk).iter().all(|frame| frame.segment != first.sequence));
}

/// Each salvage goes by what it can read. What the last one has skipped may be unreadable now.
#[test]
fn p9_no_lsn_is_given_out_twice_although_the_life_after_a_salvage_is_lost_too() {
    let salvage_and_append = |disk: &SimDisk, count| {
        run(async {
            let wal = open(disk, salvaging()).await;
            assert!(wal.recovery_report().salvaged.is_some());
            let first = wal.status().accepted.next().get();
            commit(&wal, count).await;
            wal.close().await.expect("closes");
            first..first + count
        })
    };
    let disk = killed_log(RECORDS);
    change(&disk, 2, |bytes| bytes[40] ^= 1);
    change(&disk, 3, |bytes| bytes[40] ^= 1);
    let one = salvage_and_append(&disk, 6);
    let later = frames(&disk).last().expect("it wrote some").segment;
    change(&disk, later, |bytes| bytes[40] ^= 1);
    let other = salvage_and_append(&disk, 2 * RECORDS);
    assert!(other.start >= one.end || other.end <= one.start, "{one:?} and {other:?}");
}

#[test]
fn p9_a_salvage_gives_out_no_lsn_whose_frame_nobody_can_read() {
    let disk = killed_log(RECORDS);
    let last: Vec<_> = frames(&disk).into_iter().filter(|frame| frame.segment == 4).collect();
    let [.., damaged, _proof, unreadable] = &last[..] else { panic!("too few frames: {last:?}") };
    change(&disk, 4, |bytes| {
        bytes[damaged.offset as usize + 200] ^= 4;
        bytes[unreadable.offset as usize..][..512].fill(0x5a);
    });
    let report = recover(&disk, Salvage).expect("salvaged").report;
    assert_eq!(report.salvaged.map(|damage| damage.offset), Some(damaged.offset));
    assert!(report.next_lsn.get() > RECORDS, "{} was given out", unreadable.header.first_lsn);
}

#[test]
fn p9_the_epoch_after_a_salvage_is_later_than_any_that_it_took_out() {
    let disk = killed_log(RECORDS);
    live(&disk, 3);
    let latest = frames(&disk).iter().map(|frame| frame.header.epoch).max().expect("frames");
    change(&disk, 2, |bytes| bytes[1600] ^= 1);
    let report = recover(&disk, Salvage).expect("salvaged").report;
    assert!(report.salvaged.is_some() && report.epoch > latest, "{report:?}");
}

/// A log whose first two segments a checkpoint has released and removed. That stands in the last segment
/// alone, in an empty frame and in two frames of records behind it.
fn released_log() -> SimDisk {
    let disk = SimDisk::new();
    run(async {
        let wal = open(&disk, config()).await;
        commit(&wal, RECORDS).await;
        wal.checkpoint(Lsn::new(RELEASED)).await.expect("released");
        commit(&wal, 2).await;
        let killed = disk.fork();
        wal.close().await.expect("closes");
        // One of them was kept to be used again, or is about to be.
        [1, 2].into_iter().for_each(|released| remove(&killed, released));
        killed
    })
}

const RELEASED: u64 = 16;

/// Else segments that were removed are taken for missing, and the whole log for damaged.
#[test]
fn p10_a_salvage_goes_by_a_low_water_mark_behind_the_damage() {
    let sound = released_log();
    let last: Vec<_> = frames(&sound).into_iter().filter(|frame| frame.segment == 4).collect();
    assert!(last[0].header.low_water.is_none(), "the start frame does not say it");
    for damaged in &last[..2] {
        let disk = sound.fork();
        change(&disk, 4, |bytes| bytes[damaged.offset as usize + 200] ^= 4);
        let refused = refuse("behind the damage", &disk);
        assert_eq!((refused.segment, refused.offset), (4, damaged.offset), "{refused}");
        let salvaged = recover(&disk, Salvage).expect("salvaged");
        let lsn = damaged.header.first_lsn.get();
        assert_eq!(salvaged.report.salvaged.expect("said").lsn.get(), lsn);
        assert_eq!(salvaged.report.low_water.get(), RELEASED);
        assert_eq!(salvaged.records, expected(RELEASED + 1..lsn));
        let again = recover(&disk, Refuse).expect("it is sound now");
        assert_eq!(again.records, expected(RELEASED + 1..lsn));
    }
}

#[test]
fn what_a_checkpoint_has_released_is_not_missed_by_a_salvage() {
    let disk = released_log();
    change(&disk, 3, |bytes| bytes[512..1024].fill(0x5a));
    let salvaged = recover(&disk, Salvage).expect("salvaged");
    let report = &salvaged.report;
    assert_eq!(report.salvaged.as_ref().map(|damage| damage.lsn.get()), Some(RELEASED + 1));
    assert_eq!((report.last_lsn.get(), report.low_water.get()), (RELEASED, RELEASED));
    assert!(salvaged.records.is_empty());
}

/// The records of the last frame that can be read are durable only once they are in the new segment.
#[test]
fn p12_the_last_frame_before_a_segment_that_nobody_can_read_is_carried_over() {
    let disk = killed_log(RECORDS);
    let lsn = first_lsn(&disk, 4);
    change(&disk, 4, |bytes| bytes[20] ^= 64);
    let salvaged = recover(&disk, Salvage).expect("salvaged");
    assert_eq!((salvaged.report.carried, salvaged.records), (1, expected(1..lsn)));
}

#[test]
fn p14_a_number_that_no_segment_ever_bears_is_refused() {
    let blank = segments(&killed_log(1)).pop().expect("a prepared segment");
    let with_number = |sequence| {
        let disk = SimDisk::new();
        disk.write_file(&segment_name(sequence), renumbered(&blank.bytes, sequence));
        refuse("a number", &disk)
    };
    for never in [0, (1 << 62) + 1, u64::MAX] {
        let refused = with_number(never);
        assert!(matches!(refused.kind, DamageKind::NoSuchNumber), "{refused}");
        assert_eq!(refused.segment, never);
    }
    let refused = with_number(1 << 62);
    assert!(
        matches!(refused.kind, DamageKind::MissingSegment),
        "the last number there is may be used: {refused}"
    );
}

#[test]
fn p20_what_a_salvage_has_set_aside_without_what_it_began_then_is_refused() {
    for aside in [set_aside_name(9), format!("{}.2", set_aside_name(9))] {
        let disk = killed_log(3);
        let prepared = unused(&disk);
        prepared.iter().for_each(|segment| remove(&disk, segment.sequence));
        disk.write_file(&aside, prepared[0].bytes.clone());
        let before = disk.names();
        for policy in [Refuse, Salvage] {
            match recover(&disk, policy) {
                Err(OpenError::SignsOfLog { name, segment: 9, .. }) => assert_eq!(name, aside),
                other => panic!("{aside}: {other:?}"),
            }
        }
        assert_eq!(disk.names(), before);
    }
}

#[test]
fn a_damaged_start_frame_is_told_with_what_is_wrong_with_it() {
    let killed = killed_log(RECORDS);
    let flipped = |at: usize| {
        let disk = killed.fork();
        change(&disk, 3, |bytes| bytes[at] ^= 4);
        disk
    };
    let all_is_noise = killed.fork();
    change(&all_is_noise, 3, |bytes| bytes[512..].fill(0x5a));
    // With nothing live before it: the segments before were released.
    let all_is_blank = released_log();
    change(&all_is_blank, 3, |bytes| bytes[512..].fill(0));
    for (disk, what) in [
        (flipped(512), "no frame begins here"),
        (flipped(520), "the frame header does not match its checksum"),
        (all_is_noise, "no frame begins here"),
        (all_is_blank, "there is none"),
    ] {
        let refused = refuse(what, &disk);
        assert_eq!((refused.segment, refused.offset), (3, 512), "{refused}");
        let said = format!("its start frame is damaged: {what}");
        assert!(refused.to_string().contains(&said), "{refused}");
    }
}

/// The offset is that of its own blocks: an earlier life may have had other ones.
#[test]
fn a_damaged_start_frame_behind_a_trimmed_segment_with_other_blocks_is_told_with_its_place() {
    let disk = killed_log(3);
    let prepared = unused(&disk).into_iter();
    prepared.for_each(|segment| remove(&disk, segment.sequence));
    let mut larger = config();
    (larger.block_size, larger.segment_size) = (1024, 12 * 1024);
    recover_from(&disk, &larger, None).expect("it opens");
    change(&disk, 2, |bytes| bytes[1024 + 20] ^= 4);
    let refused = refuse("other blocks", &disk);
    assert_eq!((refused.segment, refused.offset), (2, 1024), "{refused}");
}

/// A closed life gives back the unused end of its segment: that the file is short says nothing.
#[test]
fn p14_a_segment_missing_behind_one_that_was_trimmed_is_missing_and_nothing_was_shortened() {
    let disk = closed_log(5);
    for _ in 0..2 {
        live(&disk, 3);
    }
    let used = used(&disk);
    let [trimmed, gone, _] = &used[..] else { panic!("three lives, three segments: {used:?}") };
    assert!(trimmed.bytes.len() < 6 * 1024);
    remove(&disk, gone.sequence);
    let refused = refuse("behind a trimmed one", &disk);
    assert!(matches!(refused.kind, DamageKind::MissingSegment), "{refused}");
    assert_eq!((refused.segment, refused.lsn.get()), (gone.sequence, 6), "{refused}");
}

/// Sound records may stand behind the damage. They are lost to the log, and not to those who want to have a look.
#[test]
fn p10_a_salvage_keeps_a_segment_that_is_damaged_right_where_its_live_records_begin() {
    let released = released_log();
    let behind_mark = frames(&released).into_iter().find(|f| f.header.first_lsn.get() > RELEASED);
    let killed = killed_log(RECORDS);
    let first = frames(&killed).into_iter().find(|frame| frame.header.count > 0);
    for (disk, damaged) in [(released, behind_mark), (killed, first)] {
        let damaged = damaged.expect("a frame");
        change(&disk, damaged.segment, |bytes| bytes[damaged.offset as usize + 200] ^= 4);
        let before = disk.read_file(&segment_name(damaged.segment));
        run(async {
            let wal = open(&disk, salvaging()).await;
            commit(&wal, RECORDS).await;
            wal.close().await.expect("closes");
        });
        assert!(disk.read_file(&set_aside_name(damaged.segment)) == before, "{damaged:?}");
    }
}
