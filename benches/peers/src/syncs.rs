//! Counts the syncs of this process, whichever engine makes them.
//!
//! No engine is asked: not all of them count, and each would count in its own way. Instead, this program
//! brings its own `fsync` and `fdatasync`, which the linker takes for those of the C library: the
//! standard library, nix and SQLite all call them by these names. A call that goes past the C library
//! would be missed; `strace` says that no engine here does that.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};

static SYNCS: AtomicU64 = AtomicU64::new(0);

/// How many there were so far.
pub fn count() -> u64 {
    SYNCS.load(Ordering::Relaxed)
}

fn counted(call: libc::c_long, fd: c_int) -> c_int {
    SYNCS.fetch_add(1, Ordering::Relaxed);
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
