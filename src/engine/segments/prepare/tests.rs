//! Guards P13 (an old life never comes back under a new name) and P21 (a full disk is a clean refusal).

use super::*;
use crate::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, Recorder, SimDisk, errno,
};

const SIZE: u64 = 16 * 1024;

fn job() -> PrepareJob {
    PrepareJob {
        name: "2.wal".to_owned(),
        temp_name: "2.tmp".to_owned(),
        size: SIZE,
        header: b"header".to_vec(),
        zero_fill: true,
        recycle: None,
        block_size: 512,
    }
}

fn recycling() -> PrepareJob {
    PrepareJob { recycle: Some("1.wal".to_owned()), ..job() }
}

/// A storage in which `rule` holds, over a disk with an old segment on it.
fn faulty(disk: &SimDisk, rule: FaultRule) -> FaultyStorage {
    let plan = FaultPlan::new();
    plan.add(rule);
    FaultyStorage::mount(disk, plan).unwrap()
}

fn disk_with_old_segment() -> SimDisk {
    let disk = SimDisk::new();
    disk.write_file("1.wal", vec![7; SIZE as usize]);
    disk
}

#[test]
fn a_new_segment_is_synced_before_it_is_named_and_its_name_is_synced_after() {
    let recorder = Recorder::new(SimDisk::new().mount().unwrap()).unwrap();
    prepare(&recorder, &job()).unwrap();
    assert_eq!(
        recorder.log().lines(),
        [
            "nothing", // There was no leftover to remove.
            "create 2.tmp",
            "write 2.tmp at 0, 16384 bytes",
            "write 2.tmp at 0, 6 bytes",
            "sync 2.tmp",
            "rename 2.tmp to 2.wal",
            "sync directory",
        ]
    );
}

#[test]
fn a_recycled_segment_loses_its_old_name_durably_before_a_byte_changes() {
    let recorder = Recorder::new(disk_with_old_segment().mount().unwrap()).unwrap();
    prepare(&recorder, &recycling()).unwrap();
    assert_eq!(
        recorder.log().lines(),
        [
            "nothing",
            "rename 1.wal to 2.tmp",
            "sync directory",
            "write 2.tmp at 0, 1024 bytes",
            "sync 2.tmp",
            "rename 2.tmp to 2.wal",
            "sync directory",
        ]
    );
}

#[test]
fn a_recycled_segment_has_a_new_header_and_an_empty_first_block() {
    let disk = disk_with_old_segment();
    prepare(&*disk.mount().unwrap(), &recycling()).unwrap();
    let content = disk.read_file("2.wal").unwrap();
    assert_eq!(content[..6], *b"header");
    assert!(content[6..1024].iter().all(|byte| *byte == 0));
    assert!(content[1024..].iter().all(|byte| *byte == 7));
    assert_eq!(content.len() as u64, SIZE);
}

#[test]
fn zeros_are_written_up_to_the_exact_size_and_no_more_than_a_piece_of_them_waits_for_a_sync() {
    const PIECE: u64 = 128 << 10;
    let recorder = Recorder::new(SimDisk::new().mount().unwrap()).unwrap();
    let size = (1 << 20) + 100;
    let mut preparation = Preparation::new(PrepareJob { size, ..job() });
    for done in 1..=8 {
        let file = preparation.step(&recorder, PIECE).unwrap();
        assert!(file.is_none() && preparation.zeros_left() == size - done * PIECE);
    }
    let file = preparation.step(&recorder, PIECE).unwrap().expect("complete");
    assert_eq!(file.size().unwrap(), size);
    let mut unsynced = 0;
    let mut zeros = 0;
    for line in &recorder.log().lines()[2..] {
        if line.starts_with("write 2.tmp at 0, 6 bytes") {
            break;
        }
        match line.strip_suffix(" bytes").and_then(|line| line.rsplit_once(' ')) {
            Some((_, bytes)) => unsynced += bytes.parse::<u64>().unwrap(),
            None => {
                assert_eq!(line, "sync 2.tmp");
                unsynced = 0;
                continue;
            }
        }
        assert!(unsynced <= PIECE, "{line}");
        zeros += line.rsplit(' ').nth(1).unwrap().parse::<u64>().unwrap();
    }
    assert_eq!(zeros, size);
}

#[test]
fn without_zeros_the_file_ends_after_its_header() {
    let disk = SimDisk::new();
    let job = PrepareJob { zero_fill: false, ..job() };
    prepare(&*disk.mount().unwrap(), &job).unwrap();
    assert_eq!(disk.read_file("2.wal").unwrap(), b"header");
}

#[test]
fn a_leftover_of_an_earlier_attempt_is_replaced() {
    let disk = disk_with_old_segment();
    disk.write_file("2.tmp", "leftover");
    prepare(&*disk.mount().unwrap(), &recycling()).unwrap();
    assert_eq!(disk.names(), ["2.wal"]);
}

#[test]
fn a_full_disk_leaves_no_file_behind_and_says_so() {
    let disk = SimDisk::new();
    disk.set_capacity(SIZE / 2);
    let fault = prepare(&*disk.mount().unwrap(), &job()).unwrap_err();
    assert_eq!((fault.op, fault.file.as_str()), ("find space for", "2.tmp"));
    assert!(fault.is_no_space());
    assert!(!fault.name_taken);
    assert!(disk.names().is_empty());
}

#[test]
fn quota_is_space_too() {
    assert!(is_no_space(&io::Error::from_raw_os_error(errno::EDQUOT)));
    assert!(is_no_space(&io::Error::from_raw_os_error(errno::ENOSPC)));
    assert!(!is_no_space(&io::Error::from_raw_os_error(errno::EIO)));
}

#[test]
fn wherever_an_attempt_fails_nothing_of_it_stays_and_the_fault_names_the_place() {
    let eio = FaultEffect::Fail(errno::EIO);
    let cases = [
        (FaultRule::on(FaultOp::Create, eio), job(), "create", "2.tmp"),
        (FaultRule::on(FaultOp::Write, eio), job(), "zero-fill", "2.tmp"),
        (FaultRule::on(FaultOp::Write, eio).after(1), job(), "write", "2.tmp"),
        (FaultRule::on(FaultOp::Sync, eio), job(), "sync", "2.tmp"),
        (FaultRule::on(FaultOp::Rename, eio), job(), "rename to", "2.wal"),
        (FaultRule::on(FaultOp::SyncDir, eio), job(), "sync the directory of", "2.wal"),
        (FaultRule::on(FaultOp::Rename, eio), recycling(), "rename", "1.wal"),
        (FaultRule::on(FaultOp::SyncDir, eio), recycling(), "sync the directory of", "2.tmp"),
        (FaultRule::on(FaultOp::Open, eio), recycling(), "open", "2.tmp"),
        (FaultRule::on(FaultOp::Write, eio), recycling(), "write", "2.tmp"),
    ];
    for (rule, job, op, file) in cases {
        let disk = SimDisk::new();
        if job.recycle.is_some() {
            disk.write_file("1.wal", vec![7; SIZE as usize]);
        }
        let fault = prepare(&faulty(&disk, rule), &job).unwrap_err();
        assert_eq!((fault.op, fault.file.as_str()), (op, file));
        let is_named = (op, file) == ("sync the directory of", "2.wal");
        assert_eq!(fault.name_taken, is_named);
        // A name that may be on disk stays there, for recovery takes a gap in the numbers for a loss.
        let left = if is_named { vec!["2.wal"] } else { Vec::new() };
        assert_eq!(disk.names(), left, "{op}");
        assert_eq!(
            disk.read_file("2.wal").map(|bytes| bytes.len()),
            is_named.then_some(job.header.len())
        );
    }
}

#[test]
fn a_name_that_exists_is_not_replaced_and_reported_as_taken() {
    let disk = SimDisk::new();
    disk.write_file("2.wal", "somebody's");
    let fault = prepare(&*disk.mount().unwrap(), &job()).unwrap_err();
    assert!(fault.name_taken);
    assert_eq!(disk.read_file("2.wal").unwrap(), b"somebody's");
    assert_eq!(disk.names(), ["2.wal"]);
}

#[test]
fn a_segment_of_another_size_is_not_recycled() {
    let disk = SimDisk::new();
    disk.write_file("1.wal", "short");
    let fault = prepare(&*disk.mount().unwrap(), &recycling()).unwrap_err();
    assert_eq!(fault.op, "recycle");
    assert!(disk.names().is_empty());
}

#[test]
fn after_power_loss_at_any_point_a_segments_name_stands_for_a_complete_segment() {
    for job in [job(), recycling()] {
        let disk = disk_with_old_segment();
        let recorder = Recorder::new(disk.mount().unwrap()).unwrap();
        prepare(&recorder, &job).unwrap();
        let mut cuts = recorder.log().cuts();
        while cuts.advance() {
            for seed in 0..20 {
                let found = cuts.image(crate::testkit::Persist::Torn { seed });
                if let Some(content) = found.read_file("2.wal") {
                    assert_eq!(content.len() as u64, SIZE, "{:?}", cuts.last_op());
                    assert_eq!(content[..6], *b"header", "{:?}", cuts.last_op());
                }
                if let Some(content) = found.read_file("1.wal") {
                    assert_eq!(content[0], 7, "new content, old name: {:?}", cuts.last_op());
                }
            }
        }
    }
}

/// Some FUSE file systems do not tell the free space: it is a hint, and the write decides.
#[test]
fn p21_where_the_free_space_is_not_known_the_write_decides() {
    let disk = SimDisk::new();
    let unknown = || FaultRule::on(FaultOp::FreeBytes, FaultEffect::Fail(errno::EIO));
    prepare(&faulty(&disk, unknown()), &job()).unwrap();
    assert_eq!(disk.read_file("2.wal").unwrap().len() as u64, SIZE);

    let full = SimDisk::new();
    full.set_capacity(SIZE / 2);
    let fault = prepare(&faulty(&full, unknown()), &job()).unwrap_err();
    assert_eq!((fault.op, fault.is_no_space()), ("zero-fill", true));
    assert!(full.names().is_empty(), "nothing of the attempt is kept");
}
