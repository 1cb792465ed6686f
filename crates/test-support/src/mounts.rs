//! Small real file systems: an image in a file, on a loop device, mounted for as long as a value lives. Needs
//! root; where that or anything else is missing, the mount says why.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::skips::{leave_out, skip};

/// A kind of file system, and how large its image has to be.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    mib: u64,
    mkfs: &'static [&'static str],
}

/// What has to be there for everybody, so nothing is kept back for root.
pub const EXT4: Kind = Kind { name: "ext4", mib: 24, mkfs: &["mkfs.ext4", "-q", "-F", "-m", "0"] };
/// The same with room for some segments of the size that is the default.
pub const LARGE_EXT4: Kind = Kind { mib: 400, ..EXT4 };
pub const XFS: Kind = Kind { name: "xfs", mib: 320, mkfs: &["mkfs.xfs", "-q", "-f"] };
pub const BTRFS: Kind = Kind { name: "btrfs", mib: 128, mkfs: &["mkfs.btrfs", "-q", "-f"] };

impl Kind {
    /// The same with an image of this size.
    pub const fn of_mib(self, mib: u64) -> Kind {
        Kind { mib, ..self }
    }
}

/// A mounted image. Dropping it, also in a panic, unmounts it and gives the loop device back.
#[derive(Debug)]
pub struct Mount {
    /// Where it is mounted; the image lies beside, with `.img` at the end.
    pub place: PathBuf,
}

impl Mount {
    /// Makes and mounts one; or tells why a part of the test is left out. A tool that is missing is a
    /// failure in CI. A kernel that does not let us is none.
    pub fn new(kind: Kind) -> Option<Mount> {
        sweep();
        let mount = Mount { place: fresh(kind.name) };
        let image = mount.image();
        File::create(&image).unwrap().set_len(kind.mib << 20).unwrap();
        let mut mkfs = Command::new(kind.mkfs[0]);
        mkfs.args(&kind.mkfs[1..]).arg(&image);
        match said(&mut mkfs) {
            Err(why) => skip(&format!("{}: {why}", kind.mkfs[0])),
            Ok(()) => match mount.again("") {
                Err(why) => leave_out(&format!("{} can not be mounted here: {why}", kind.name)),
                Ok(()) => return Some(mount),
            },
        }
        None
    }

    /// A memory file system without a limit: `statfs` says of it 0 of 0, as of some FUSE file systems.
    pub fn without_a_size() -> Option<Mount> {
        sweep();
        let mount = Mount { place: fresh("tmpfs") };
        let mut mounting = Command::new("mount");
        mounting.args(["-t", "tmpfs", "-o", "size=0", "none"]).arg(&mount.place);
        match said(&mut mounting) {
            Err(why) => leave_out(&format!("tmpfs can not be mounted here: {why}")),
            Ok(()) => return Some(mount),
        }
        None
    }

    fn image(&self) -> PathBuf {
        self.place.with_extension("img")
    }

    /// Mounts the image, with these options beside.
    pub fn again(&self, options: &str) -> Result<(), String> {
        let options = format!("loop,{options}");
        said(Command::new("mount").args(["-o", &options]).args([&self.image(), &self.place]))
    }

    pub fn remount(&self, option: &str) -> Result<(), String> {
        said(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.place))
    }

    /// Unmounts it, and mounts it again: everything that is only in memory is gone.
    pub fn cycle(&self) {
        unmount(&self.place);
        self.again("").expect("it can be mounted again");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        clean(&self.place);
    }
}

/// Where mounts are. Each has a name of its own, which ends with the process it belongs to.
fn mounts() -> PathBuf {
    crate::scratch::place().join("mounts")
}

fn fresh(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let place = mounts().join(format!("{name}-{number}-{}", process::id()));
    fs::create_dir_all(&place).unwrap();
    place
}

/// Takes away what tests left that were killed.
fn sweep() {
    for entry in fs::read_dir(mounts()).into_iter().flatten().flatten() {
        let place = entry.path().with_extension("");
        let owner =
            place.to_string_lossy().rsplit('-').next().and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()) {
            clean(&place);
        }
    }
}

fn clean(place: &Path) {
    unmount(place);
    // Only the empty directory itself: if it is mounted all the same, nothing on it is touched.
    let _ = fs::remove_dir(place);
    let _ = fs::remove_file(place.with_extension("img"));
}

/// The loop device goes with the mount. A process that was killed a moment ago may still have a file open.
fn unmount(place: &Path) {
    for _ in 0..50 {
        if !is_mounted(place) {
            return;
        }
        if said(Command::new("umount").arg(place)).is_err() {
            sleep(Duration::from_millis(100));
        }
    }
    let _ = said(Command::new("umount").arg("-l").arg(place));
}

fn is_mounted(place: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == place.to_str())
}

/// Runs a program, whose last words are the error.
pub fn said(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(words.trim().to_owned()) }
}
