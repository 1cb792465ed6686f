//! What every [`Storage`] must keep, as one suite: [`run_all`]. The author of another storage
//! runs it in a test.
//!
//! ```
//! use actix_wal::testkit::{SimDisk, storage_contract};
//!
//! // Put the storage in question here: each call makes a fresh place, which can be opened again and again.
//! let checks = storage_contract::run_all(|| {
//!     let disk = SimDisk::new();
//!     move || disk.mount()
//! });
//! assert!(checks.contains(&"rename_never_replaces"));
//! ```
//!
//! A storage whose loss of power can be simulated is put to more checks: implement [`Place`] for it.
//!
//! ```
//! # use std::{io, sync::Arc};
//! # use actix_wal::{storage::Storage, testkit::{Persist, SimDisk, storage_contract}};
//! # use storage_contract::Place;
//! struct Disk(SimDisk);
//!
//! impl Place for Disk {
//!     fn open(&self) -> io::Result<Arc<dyn Storage>> {
//!         self.0.mount()
//!     }
//!
//!     fn after_power_loss(&self, seed: u64) -> Option<Box<dyn Place>> {
//!         Some(Box::new(Disk(self.0.crash(Persist::Torn { seed }))))
//!     }
//! }
//!
//! let checks = storage_contract::run_all(|| Disk(SimDisk::new()));
//! assert!(checks.contains(&"synced_bytes_survive_power_loss"));
//! ```

mod basic;
mod lasting;

use std::{fmt, io, sync::Arc};

use crate::storage::{EntryKind, Storage, StorageFile, read_exact_at, write_all_at};

/// Where a storage lies. Functions that open one are places.
pub trait Place {
    /// Opens the storage that lies here. The suite also tries it while the storage is open.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while the place has an owner.
    fn open(&self) -> io::Result<Arc<dyn Storage>>;

    /// Whether opening it again gives the same files. Where not, ownership is not checked.
    fn can_be_reopened(&self) -> bool {
        true
    }

    /// Puts something there that is no file: a folder, a link or a pipe; or as `folder/name` a file in a folder.
    /// Whether it is there now. Where it never is, nothing is checked about it.
    fn put(&self, name: &str, kind: EntryKind) -> bool {
        let _ = (name, kind);
        false
    }

    /// A copy of the place as it may be found if the power fails now; another seed may give another copy.
    /// `None` where nobody can tell: then nothing is checked about it.
    fn after_power_loss(&self, seed: u64) -> Option<Box<dyn Place>> {
        let _ = seed;
        None
    }
}

impl<F: Fn() -> io::Result<Arc<dyn Storage>>> Place for F {
    fn open(&self) -> io::Result<Arc<dyn Storage>> {
        self()
    }
}

/// A rule that a storage does not keep.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The name of the check.
    pub check: &'static str,
    /// The rule, as [`crate::storage`] has it.
    pub rule: &'static str,
    /// What was seen instead.
    pub seen: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { check, rule, seen, remedy } = self;
        write!(f, "{check}: {seen}\n  the rule: {rule}\n  what to do: {remedy}")
    }
}

/// Runs every check, each in a fresh place. Returns the names of those that apply.
///
/// # Panics
/// Rules are broken: the message says which, and what to do.
pub fn run_all<P: Place>(fresh: impl FnMut() -> P) -> Vec<&'static str> {
    let (done, broken) = examine(fresh);
    let broken: Vec<_> = broken.iter().map(Broken::to_string).collect();
    assert!(broken.is_empty(), "the storage breaks its contract\n{}", broken.join("\n"));
    done
}

/// The same without a panic: the names of the checks that apply, and the rules that are broken.
pub fn examine<P: Place>(mut fresh: impl FnMut() -> P) -> (Vec<&'static str>, Vec<Broken>) {
    let (mut done, mut broken) = (Vec::new(), Vec::new());
    for Check { name, rule, remedy, run } in basic::CHECKS.iter().chain(lasting::CHECKS) {
        match run.on(&fresh()) {
            Ok(Applies::Yes) => done.push(*name),
            Ok(Applies::No) => {}
            Err(Seen(seen)) => {
                done.push(*name);
                broken.push(Broken { check: name, rule, seen, remedy });
            }
        }
    }
    (done, broken)
}

/// A check, and what to say if it fails.
struct Check {
    name: &'static str,
    rule: &'static str,
    remedy: &'static str,
    run: Run,
}

/// What a check looks at.
enum Run {
    /// A storage that was opened in a fresh place.
    Open(fn(&dyn Storage) -> Result<(), Seen>),
    /// A fresh place.
    Place(fn(&dyn Place) -> Result<Applies, Seen>),
}

impl Run {
    fn on(&self, place: &dyn Place) -> Result<Applies, Seen> {
        match self {
            Run::Open(check) => check(&*place.open()?).map(|()| Applies::Yes),
            Run::Place(check) => check(place),
        }
    }
}

/// The checks of a module, each named like its function.
macro_rules! checks {
    ($($run:ident($check:ident) rule: $rule:literal, remedy: $remedy:literal;)*) => {
        pub(super) const CHECKS: &[Check] = &[$(Check {
            name: stringify!($check),
            rule: $rule,
            remedy: $remedy,
            run: Run::$run($check),
        },)*];
    };
}

use checks;

/// Whether a check says anything about a place.
enum Applies {
    Yes,
    No,
}

/// What was seen instead of what should be.
struct Seen(String);

impl From<io::Error> for Seen {
    fn from(error: io::Error) -> Self {
        Seen(format!("an operation that should succeed failed: {error} ({:?})", error.kind()))
    }
}

/// Refuses what is not as it should be.
fn expect<T: PartialEq + fmt::Debug>(what: &str, found: T, wanted: T) -> Result<(), Seen> {
    if found == wanted {
        return Ok(());
    }
    let short = |value: T| {
        let text = format!("{value:?}");
        text.char_indices()
            .nth(200)
            .map_or(text.clone(), |(end, _)| format!("{} ...", &text[..end]))
    };
    Err(Seen(format!("{what}: {} instead of {}", short(found), short(wanted))))
}

/// Refuses success, and every other error.
fn expect_error<T>(what: &str, result: io::Result<T>, kind: io::ErrorKind) -> Result<(), Seen> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => {
            Err(Seen(format!("{what}: {error} ({:?}) instead of {kind:?}", error.kind())))
        }
        Ok(_) => Err(Seen(format!("{what}: success instead of {kind:?}"))),
    }
}

/// A new file with this content.
fn file_with(
    storage: &dyn Storage,
    name: &str,
    content: &[u8],
) -> io::Result<Box<dyn StorageFile>> {
    let file = storage.create(name)?;
    write_all_at(&*file, content, 0)?;
    Ok(file)
}

/// All that a file holds.
fn content(file: &dyn StorageFile) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut content = vec![0xee; size];
    read_exact_at(file, &mut content, 0)?;
    Ok(content)
}

/// The names in a storage, sorted.
fn names(storage: &dyn Storage) -> io::Result<Vec<String>> {
    let mut names: Vec<_> = storage.list()?.into_iter().map(|entry| entry.name).collect();
    names.sort();
    Ok(names)
}
