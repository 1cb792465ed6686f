//! Damaged small logs: how an open refuses them, and what a salvage makes of them.

use actix_wal::DamagePolicy::{Refuse, Salvage};
use actix_wal::error::Damage;
use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::format::segment::{segment_name, set_aside_name};
use actix_wal::{OpenError, WalConfig};

use crate::small_logs::{commit, config, expected, frames, open, recover, run, segments};

pub fn salvaging() -> WalConfig {
    let mut config = config();
    config.damage_policy = Salvage;
    config
}

pub fn remove(disk: &SimDisk, sequence: u64) {
    disk.remove_file(&segment_name(sequence));
}

pub fn copy(from: &SimDisk, sequence: u64, to: &SimDisk, as_sequence: u64) {
    let bytes = from.read_file(&segment_name(sequence)).expect("the segment is there");
    to.write_file(&segment_name(as_sequence), bytes);
}

/// The LSN with which a segment begins.
pub fn first_lsn(disk: &SimDisk, sequence: u64) -> u64 {
    let found = frames(disk).into_iter().find(|frame| frame.segment == sequence);
    found.expect("the segment has frames").header.first_lsn.get()
}

/// Opening twice gives the same refusal, and touches nothing.
pub fn refuse(name: &str, disk: &SimDisk) -> Damage {
    let before: Vec<_> = disk.names().into_iter().map(|name| disk.read_file(&name)).collect();
    let refusals = [(); 2].map(|()| match recover(disk, Refuse) {
        Err(OpenError::Damaged(damage)) => damage,
        other => panic!("{name}: {other:?}"),
    });
    let after: Vec<_> = disk.names().into_iter().map(|name| disk.read_file(&name)).collect();
    assert!(before == after, "{name}: a refused open changed the directory");
    let [first, second] = refusals;
    assert_eq!(first.to_string(), second.to_string(), "{name}");
    first
}

/// The log is cut before `lsn`, goes on behind the last LSN that it has given out, and is sound from then on.
pub fn salvage(name: &str, disk: &SimDisk, refused: &Damage, lsn: u64, given_out: u64) {
    let before = disk.fork();
    let next = run(async {
        let wal = open(disk, salvaging()).await;
        let report = wal.recovery_report().clone();
        let salvaged = report.salvaged.as_ref().unwrap_or_else(|| panic!("{name}: {report:?}"));
        assert_eq!(
            (salvaged.segment, salvaged.offset),
            (refused.segment, refused.offset),
            "{name}: {salvaged} instead of {refused}"
        );
        assert_eq!(salvaged.lsn.get(), lsn, "{name}: what is missed begins here: {salvaged}");
        assert_eq!(report.last_lsn.get(), lsn - 1, "{name}");
        assert!(report.next_lsn.get() > given_out, "{name}: P9: {}", report.next_lsn);
        commit(&wal, 9).await;
        wal.close().await.expect("closes");
        report.next_lsn.get()
    });
    keeps_what_it_took_out(name, refused.segment, &before, disk);
    let recovered = recover(disk, Refuse).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lsns: Vec<_> = recovered.records.iter().map(|(lsn, _)| *lsn).collect();
    let wanted: Vec<_> = (1..lsn).chain(next..next + 9).collect();
    assert_eq!(lsns, wanted, "{name}");
    assert_eq!(recovered.records, expected(wanted), "{name}");
    assert!(recovered.report.clean, "{name}: {:?}", recovered.report);
}

/// Whatever holds a frame or can not be read is there in the life after a salvage, under its name or set aside.
/// What was only prepared is no evidence of anything, unless it is itself what is `damaged`.
fn keeps_what_it_took_out(name: &str, damaged: u64, disk: &SimDisk, after: &SimDisk) {
    for sequence in 1..=4 {
        let Some(bytes) = disk.read_file(&segment_name(sequence)) else { continue };
        let names = [segment_name(sequence), set_aside_name(sequence)];
        let kept = names.iter().find_map(|name| after.read_file(name));
        let kept = kept.unwrap_or_else(|| panic!("{name}: segment {sequence} is gone"));
        let (same, rest) = bytes.split_at(kept.len());
        assert!(same == kept && rest.iter().all(|byte| *byte == 0), "{name}: {sequence} changed");
    }
    let prepared = segments(disk).into_iter().filter(|s| s.bytes[512..].iter().all(|b| *b == 0));
    for segment in prepared.filter(|segment| segment.sequence != damaged) {
        let aside = after.read_file(&set_aside_name(segment.sequence));
        assert!(aside.is_none(), "{name}: segment {} was only prepared", segment.sequence);
    }
}
