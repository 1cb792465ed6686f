//! Guards P20 and the contract of a storage: ours keep it, and for each rule there is a storage that breaks
//! it and is caught.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod storage_contract {
    pub(crate) mod wrong;
}

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_wal::storage::{Directory, EntryKind, Medium, Storage};
use actix_wal::testkit::internals::storage::Metered;
use actix_wal::testkit::storage_contract::{Place, examine, run_all};
use actix_wal::testkit::{
    FailedSync, FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, Persist, Recorder,
    SimDisk, errno,
};
use storage_contract::wrong::{CAUGHT_BY, Wrong, WrongPlace};

/// All checks, and those that need no simulated loss of power.
const ALL: usize = 22;
const WITHOUT_POWER_LOSS: usize = 18;

struct RealPlace(PathBuf);

impl Place for RealPlace {
    fn open(&self) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(Directory::open(&self.0)?))
    }

    fn put(&self, name: &str, kind: EntryKind) -> bool {
        std::fs::create_dir_all(&self.0).expect("a directory");
        let path = self.0.join(name);
        let put = match kind {
            EntryKind::File => std::fs::write(path, "").is_ok(),
            EntryKind::Folder => std::fs::create_dir(path).is_ok(),
            EntryKind::Link => std::os::unix::fs::symlink("folder", path).is_ok(),
            // A socket, which stays when its owner has gone.
            _ => std::os::unix::net::UnixListener::bind(path).is_ok(),
        };
        assert!(put, "{name}");
        put
    }
}

#[test]
fn a_real_directory_keeps_the_contract() {
    let parent = test_support::scratch::folder();
    let mut count = 0;
    let checks = run_all(|| {
        count += 1;
        RealPlace(parent.path().join(format!("{count}")))
    });
    assert_eq!(checks.len(), WITHOUT_POWER_LOSS);
}

/// A simulated disk with something on top.
struct Disk<F>(SimDisk, F);

impl<F> Place for Disk<F>
where
    F: Fn(&SimDisk) -> io::Result<Arc<dyn Storage>> + Copy + 'static,
{
    fn open(&self) -> io::Result<Arc<dyn Storage>> {
        (self.1)(&self.0)
    }

    fn put(&self, name: &str, kind: EntryKind) -> bool {
        self.0.put_other(name, kind);
        true
    }

    fn after_power_loss(&self, seed: u64) -> Option<Box<dyn Place>> {
        let persist = match seed {
            0 => Persist::Dropped,
            1 => Persist::Kept,
            seed => Persist::Torn { seed },
        };
        Some(Box::new(Disk(self.0.crash(persist), self.1)))
    }
}

#[test]
fn simulated_disks_and_all_that_is_put_on_top_keep_the_contract() {
    type Top = fn(&SimDisk) -> io::Result<Arc<dyn Storage>>;
    let tops: [Top; 5] = [
        |disk| disk.mount(),
        |disk| Ok(Arc::new(FaultyStorage::mount(disk, FaultPlan::new())?)),
        |disk| Ok(Arc::new(Recorder::new(disk.mount()?)?)),
        |disk| Ok(Arc::new(Metered::new(disk.mount()?))),
        |disk| Ok(Arc::new(FaultyStorage::mount(disk, harmless())?)),
    ];
    let disks: [fn() -> SimDisk; 3] = [
        SimDisk::new,
        || SimDisk::with_medium(Medium::CopyOnWrite),
        || SimDisk::new().with_failed_sync(FailedSync::RevertsPages),
    ];
    for top in tops {
        for disk in disks {
            assert_eq!(run_all(|| Disk(disk(), top)).len(), ALL);
        }
    }
}

/// What a storage may do: read and write less than asked, be interrupted, take its time.
fn harmless() -> FaultPlan {
    let plan = FaultPlan::new();
    for op in [FaultOp::Read, FaultOp::Write] {
        plan.add(FaultRule::on(op, FaultEffect::Fail(errno::EINTR)).after(2).times(3));
        plan.add(FaultRule::on(op, FaultEffect::Short(700)));
    }
    plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Delay(Duration::from_millis(1))).times(9));
    plan
}

#[test]
fn for_each_rule_a_storage_that_breaks_it_is_caught() {
    let (mut checks, _) = examine(|| WrongPlace::new(None));
    assert_eq!(checks.len(), ALL);
    for &(wrong, check) in CAUGHT_BY {
        let (_, broken) = examine(|| WrongPlace::new(Some(wrong)));
        let caught: BTreeSet<_> = broken.iter().map(|broken| broken.check).collect();
        assert!(caught.contains(check), "{wrong:?} is not caught by {check}, but by {caught:?}");
        checks.retain(|one| *one != check);
    }
    assert_eq!(checks, [""; 0], "nothing shows that these checks can fail");
}

#[test]
fn a_failure_names_the_check_the_rule_and_what_to_do() {
    let (_, broken) = examine(|| WrongPlace::new(Some(Wrong::RenameReplaces)));
    let [broken] = &broken[..] else { panic!("{broken:?}") };
    let said = broken.to_string();
    for part in ["rename_never_replaces", "success instead of AlreadyExists", "RENAME_NOREPLACE"] {
        assert!(said.contains(part), "{said}");
    }
    let failed = std::panic::catch_unwind(|| run_all(|| WrongPlace::new(Some(Wrong::SyncLies))));
    assert!(failed.is_err());
}

#[test]
fn a_place_that_can_not_be_reopened_is_spared_the_checks_of_owners() {
    struct Once;
    impl Place for Once {
        fn open(&self) -> io::Result<Arc<dyn Storage>> {
            SimDisk::new().mount()
        }
        fn can_be_reopened(&self) -> bool {
            false
        }
    }
    // Nor can anything be put there.
    assert_eq!(run_all(|| Once).len(), WITHOUT_POWER_LOSS - 3);
}
