//! The device without a log: one write at a time, and a sync after each.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::measure::figures::Latencies;
use crate::output::Failure;

/// The size of a scratch file: a few times the largest write.
pub(crate) const FILE_BYTES: u64 = 16 << 20;

/// What a zero-fill writes at once. The page cache keeps a file in pieces of the size in which it was written, and a sync
/// looks through each piece that was touched.
const FILL_BYTES: usize = 64 << 10;

/// How a write reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// It does not: the same write without a sync.
    Write,
    /// `pwrite` into zero-filled space, then `fdatasync`: as the log does it.
    Sync,
    /// `pwrite` at the end of the file, then `fdatasync`: the sync writes metadata too.
    AppendSync,
    /// `pwrite` into zero-filled space of a file that was opened with `O_DSYNC`.
    Dsync,
}

impl Method {
    pub(crate) const ALL: [Method; 4] =
        [Method::Write, Method::Sync, Method::AppendSync, Method::Dsync];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Write => "write",
            Method::Sync => "write-fdatasync",
            Method::AppendSync => "append-fdatasync",
            Method::Dsync => "write-dsync",
        }
    }
}

/// Files without a name in a directory. The kernel frees them when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct BareFiles {
    zero_filled: File,
    appended: File,
    /// The zero-filled file again, opened with `O_DSYNC`; `None` where that can not be done.
    dsync: Option<File>,
    at: u64,
    appended_at: u64,
}

impl BareFiles {
    /// # Errors
    /// The directory takes no file, or the disk is full.
    pub(crate) fn create(directory: &Path) -> Result<BareFiles, Failure> {
        let failed = |what: &str, error: io::Error| {
            let directory = directory.display();
            Failure::refused(format_args!("{directory}: a scratch file can not be {what}: {error}"))
        };
        let create = || tempfile::tempfile_in(directory).map_err(|it| failed("created", it));
        let (zero_filled, appended) = (create()?, create()?);
        zero_fill(&zero_filled).map_err(|error| failed("written", error))?;
        let dsync = open_again(&zero_filled).ok();
        Ok(BareFiles { zero_filled, appended, dsync, at: 0, appended_at: 0 })
    }

    pub(crate) fn can(&self, method: Method) -> bool {
        method != Method::Dsync || self.dsync.is_some()
    }

    /// One write. How long it took with its sync.
    pub(crate) fn write(&mut self, method: Method, bytes: &[u8]) -> io::Result<Duration> {
        let length = bytes.len() as u64;
        if method == Method::AppendSync {
            if self.appended_at + length > FILE_BYTES {
                self.appended.set_len(0)?;
                self.appended.sync_all()?;
                self.appended_at = 0;
            }
            let since = Instant::now();
            self.appended.write_all_at(bytes, self.appended_at)?;
            self.appended.sync_data()?;
            self.appended_at += length;
            return Ok(since.elapsed());
        }
        if self.at + length > FILE_BYTES {
            self.at = 0;
        }
        let file = match (method, &self.dsync) {
            (Method::Dsync, Some(file)) => file,
            _ => &self.zero_filled,
        };
        let since = Instant::now();
        file.write_all_at(bytes, self.at)?;
        if method == Method::Sync {
            self.zero_filled.sync_data()?;
        }
        let time = since.elapsed();
        self.at += length;
        Ok(time)
    }

    /// Writes for this long, and at least this often.
    pub(crate) fn write_for(
        &mut self,
        method: Method,
        bytes: &[u8],
        time: Duration,
        at_least: u64,
    ) -> Result<Latencies, Failure> {
        let failed = |error: io::Error| {
            Failure::refused(format_args!("a {} of the scratch file: {error}", method.name()))
        };
        let (mut latencies, since) = (Latencies::new(), Instant::now());
        while latencies.count() < at_least || since.elapsed() < time {
            latencies.add(self.write(method, bytes).map_err(failed)?);
        }
        // What was left dirty is not to be paid for by the measurement that follows.
        if method == Method::Write {
            self.zero_filled.sync_data().map_err(failed)?;
        }
        Ok(latencies)
    }
}

/// What is written: no zeros, which a device could store without writing them.
pub(crate) fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 + 1).collect()
}

fn zero_fill(file: &File) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES];
    for piece in 0..FILE_BYTES / FILL_BYTES as u64 {
        file.write_all_at(&zeros, piece * FILL_BYTES as u64)?;
    }
    file.sync_all()
}

/// The same file, which has no name any more, with `O_DSYNC`. Linux knows it by its descriptor.
fn open_again(file: &File) -> io::Result<File> {
    let dsync = rustix::fs::OFlags::DSYNC.bits() as i32;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().write(true).custom_flags(dsync).open(path)
}
