//! Snapshots that are written while commits run, and the checkpoint behind each.
//!
//! The [coordinator](crate::coordinator) gives the rows of one durable LSN, a piece at a time, to a thread that writes the
//! file. It goes on with the next piece when the thread has taken the one before: a slow disk makes a snapshot slow, and
//! no commit. Two snapshots are kept. The log is released up to the *older* one, so that a newest one that turns out to
//! be bad costs nothing: the older one and the log since are there.
//!
//! | part | what |
//! |---|---|
//! | [`SnapshotPlan`] | where the files are, and when one is written |
//! | `kept` | which files are kept, and up to where the log may be released |
//! | `due` | whether it is time for the next one |
//! | `export` | the rows and tokens at an LSN, in pieces |
//! | `file_thread` | the thread that writes a file |

pub(crate) mod due;
pub(crate) mod export;
pub(crate) mod file_thread;
pub(crate) mod kept;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use actix_wal::storage::{Directory, Storage};

use self::kept::Kept;
use crate::recovery::LoadedSnapshot;

/// Where the snapshots of a log are kept, and when one is written.
#[derive(Clone, Debug)]
pub struct SnapshotPlan {
    place: Place,
    /// A snapshot is written when the log has grown by this many bytes since the last one, and by at least as much as
    /// that one's size, so that a large state is not written again for every little. `None`: not by bytes. Default: 64 MiB,
    /// about a second of replay. A host that gives a folder wants its log released, so this is on.
    pub after_log_bytes: Option<u64>,
    /// A snapshot is written when the last one is this old and the log has grown. Default: `None`, since replay takes as
    /// long as its bytes do, however old they are.
    pub after_time: Option<Duration>,
    /// A snapshot that is not written by then is given up. Until then the versions that it shows are kept. Default: 10
    /// minutes.
    pub give_up_after: Duration,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    Storage(Arc<dyn Storage>),
}

/// How long an open waits for a folder whose owner, a coordinator of this process perhaps, is ending.
const PATIENCE: Duration = Duration::from_secs(5);

impl SnapshotPlan {
    /// Snapshots in a folder of their own, which is created. It is not the folder of the log.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        SnapshotPlan::at(Place::Folder(folder.into()))
    }

    /// Snapshots on another storage.
    pub fn on_storage(storage: Arc<dyn Storage>) -> Self {
        SnapshotPlan::at(Place::Storage(storage))
    }

    fn at(place: Place) -> Self {
        SnapshotPlan {
            place,
            after_log_bytes: Some(64 << 20),
            after_time: None,
            give_up_after: Duration::from_secs(600),
        }
    }

    /// Where it is, for messages.
    pub(crate) fn location(&self) -> String {
        match &self.place {
            Place::Folder(folder) => folder.display().to_string(),
            Place::Storage(storage) => storage.location(),
        }
    }

    /// Opens the folder. Blocks, also while its last owner in this process ends.
    pub(crate) fn open(&self) -> io::Result<Arc<dyn Storage>> {
        let folder = match &self.place {
            Place::Storage(storage) => return Ok(Arc::clone(storage)),
            Place::Folder(folder) => folder,
        };
        let began = Instant::now();
        loop {
            match Directory::open(folder) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < PATIENCE =>
                {
                    thread::sleep(Duration::from_millis(5));
                }
                opened => return Ok(Arc::new(opened?)),
            }
        }
    }
}

/// The folder of the snapshots of one log, with what recovery has found in it.
#[derive(Debug)]
pub struct SnapshotFolder {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) plan: SnapshotPlan,
    pub(crate) log: [u8; 16],
    pub(crate) kept: Kept,
    /// The newest one, which was recovered from.
    pub(crate) newest: Option<LoadedSnapshot>,
    /// How much has been replayed behind it.
    pub(crate) log_bytes: u64,
}
