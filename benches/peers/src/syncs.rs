//! Counts the syncs of this process, whichever engine makes them.
//!
//! No engine is asked: not all of them count, and each would count in its own way. Instead, this program
//! brings its own `fsync` and `fdatasync`, which the linker takes for those of the C library: the
//! standard library, nix and SQLite all call them by these names. A call that goes past the C library
//! would be missed; `strace` says that no engine here does that.
//!
//! For the same reason this is where a disk can be simulated, for every engine in the same way: a sync then
//! takes a given time, and nothing reaches the disk.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

static SYNCS: AtomicU64 = AtomicU64::new(0);
/// How long a sync takes, or that it is left to the disk.
static TAKES_NANOS: AtomicU64 = AtomicU64::new(REAL);
const REAL: u64 = u64::MAX;
/// A device does one after the other, also for files that have nothing to do with each other.
static DEVICE: Mutex<()> = Mutex::new(());

/// How many there were so far.
pub fn count() -> u64 {
    SYNCS.load(Ordering::Relaxed)
}

/// From now on no sync of this process reaches the disk; each takes this long instead. Bytes cost what
/// they cost the page cache: a simulated disk has no bandwidth that could be used up.
pub fn simulate(takes: Duration) {
    TAKES_NANOS.store(takes.as_nanos() as u64, Ordering::Relaxed);
}

/// As long as this lives, syncs cost nothing and do nothing: for what is written before anything is measured.
pub struct Skipped {
    takes_nanos: u64,
}

impl Skipped {
    /// From here on.
    pub fn begin() -> Self {
        Skipped { takes_nanos: TAKES_NANOS.swap(0, Ordering::Relaxed) }
    }
}

impl Drop for Skipped {
    fn drop(&mut self) {
        TAKES_NANOS.store(self.takes_nanos, Ordering::Relaxed);
    }
}

fn counted(call: libc::c_long, fd: c_int) -> c_int {
    SYNCS.fetch_add(1, Ordering::Relaxed);
    let takes = TAKES_NANOS.load(Ordering::Relaxed);
    if takes != REAL {
        if takes > 0 {
            let _turn = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
            thread::sleep(Duration::from_nanos(takes));
        }
        return 0;
    }
    // SAFETY: both calls take a descriptor and nothing else; one that is not open is an error that the
    // kernel reports. `syscall` sets `errno` as the function does that this one stands in for.
    let result = unsafe { libc::syscall(call, fd) };
    if result == 0 { 0 } else { -1 }
}

// SAFETY (of the names): same signature, same meaning, same `errno` as in the C library. It is no
// cancellation point, which matters only to `pthread_cancel`; nobody here calls that.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    counted(libc::SYS_fdatasync, fd)
}

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    counted(libc::SYS_fsync, fd)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_syncs_of_the_standard_library_are_counted() {
        let file = std::fs::File::open(env!("CARGO_MANIFEST_DIR")).expect("a folder");
        let before = super::count();
        file.sync_all().expect("fsync");
        file.sync_data().expect("fdatasync");
        assert!(super::count() >= before + 2);
    }
}
