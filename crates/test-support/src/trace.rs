//! Reads what `strace -f -xx -s 104` has written, and judges in which order things happened in it.
//!
//! strace stops a thread before each call and after it. So a call that begins because another one has
//! returned stands behind that return in the trace, and a call that did not wait for it may stand before.

use std::collections::{BTreeMap, BTreeSet};

/// What the trace came to.
#[derive(Debug, Default)]
pub struct Audit {
    /// Acknowledgements that were written to the pipe.
    pub acknowledged: usize,
    /// Syncs of files with frames that returned without an error.
    pub syncs: usize,
    /// The LSNs that were acknowledged before they were durable.
    pub early: Vec<u64>,
}

/// What a thread is in the middle of.
enum Call {
    /// Writing a frame with these LSNs, of so many bytes, to a file.
    Frame {
        fd: u32,
        lsns: (u64, u64),
        len: u64,
    },
    /// Syncing: these LSNs were written when it began.
    Sync {
        covers: BTreeSet<(u64, u64)>,
        fd: u32,
    },
    Other,
}

#[derive(Default)]
struct Judge {
    /// By file descriptor: LSNs that are written and not synced, as first and last.
    written: BTreeMap<u32, BTreeSet<(u64, u64)>>,
    durable: BTreeSet<u64>,
    calls: BTreeMap<u32, Call>,
    audit: Audit,
}

/// Judges a trace.
///
/// # Errors
/// A line that can not be read, or a short write, of which nothing can be said.
pub fn judge(trace: &str) -> Result<Audit, String> {
    let mut judge = Judge::default();
    for line in trace.lines() {
        judge.read(line).ok_or_else(|| format!("what does this mean? {line}"))?;
    }
    Ok(judge.audit)
}

impl Judge {
    fn read(&mut self, line: &str) -> Option<()> {
        let (thread, event) = line.split_once(' ')?;
        let thread = thread.parse().ok()?;
        let event = event.trim_start();
        if event.starts_with("+++") || event.starts_with("---") {
            self.calls.remove(&thread);
            return Some(());
        }
        let result = event.rsplit_once(" = ").map(|(_, result)| result);
        if !event.starts_with("<... ") {
            let (name, arguments) = event.split_once('(')?;
            let call = self.begin(name, arguments)?;
            self.calls.insert(thread, call);
        }
        match result {
            Some(result) if !event.ends_with("<unfinished ...>") => self.end(thread, result),
            _ => Some(()),
        }
    }

    fn begin(&mut self, name: &str, arguments: &str) -> Option<Call> {
        let fd: u32 = arguments.split([',', ')', ' ']).next()?.parse().ok()?;
        Some(match name {
            "pwrite64" => {
                let frame = frame(&text(arguments)?);
                let mut rest = arguments.rsplit_once('"')?.1.split(", ").skip(1);
                let len = rest.next()?.parse().ok()?;
                frame.map_or(Call::Other, |lsns| Call::Frame { fd, lsns, len })
            }
            "write" => {
                self.acknowledge(&String::from_utf8_lossy(&text(arguments)?));
                Call::Other
            }
            "fdatasync" | "fsync" => {
                Call::Sync { covers: self.written.get(&fd).cloned().unwrap_or_default(), fd }
            }
            "close" => {
                self.written.remove(&fd);
                Call::Other
            }
            _ => return None,
        })
    }

    fn end(&mut self, thread: u32, result: &str) -> Option<()> {
        let returned: Option<u64> = result.split(' ').next()?.parse().ok();
        match (self.calls.remove(&thread)?, returned) {
            (Call::Frame { fd, lsns, len }, Some(wrote)) => {
                if wrote != len {
                    return None;
                }
                self.written.entry(fd).or_default().insert(lsns);
            }
            (Call::Sync { covers, fd }, Some(0)) if !covers.is_empty() => {
                self.audit.syncs += 1;
                let written = self.written.entry(fd).or_default();
                for (first, last) in covers {
                    written.remove(&(first, last));
                    self.durable.extend(first..=last);
                }
            }
            _ => {}
        }
        Some(())
    }

    /// A line of the child's reports: `!A <client> <sequence> <LSN>`. Other writes are not of interest.
    fn acknowledge(&mut self, line: &str) {
        let lsn = line.strip_prefix("!A ").and_then(|rest| rest.trim_end().rsplit(' ').next());
        if let Some(lsn) = lsn.and_then(|lsn| lsn.parse().ok()) {
            self.audit.acknowledged += 1;
            if !self.durable.contains(&lsn) {
                self.audit.early.push(lsn);
            }
        }
    }
}

/// The bytes of the first string among the arguments, which is in hexadecimal.
fn text(arguments: &str) -> Option<Vec<u8>> {
    let text = arguments.split('"').nth(1)?;
    text.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

/// The first and the last LSN of a frame with records, from its header; see `docs/format.md`.
fn frame(bytes: &[u8]) -> Option<(u64, u64)> {
    if !bytes.starts_with(b"awf1") {
        return None;
    }
    let first = u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?);
    let count = u32::from_le_bytes(bytes.get(48..52)?.try_into().ok()?);
    (count > 0).then(|| (first, first + u64::from(count) - 1))
}
