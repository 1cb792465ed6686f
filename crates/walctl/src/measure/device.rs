//! What lies below a directory: the file system, how it is mounted, the block devices and their write caches.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use actix_wal::storage::filesystem_name;
use rustix::fs::Access;
use serde::Serialize;

use super::mounts::{MountLine, mount_of};
use crate::output::Failure;

/// Where Linux describes block devices by their numbers.
const SYSFS: &str = "/sys/dev/block";

/// Devices on devices: more than anyone stacks.
const DEEPEST: usize = 8;

/// The JSON of a device.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Device {
    pub(crate) file_system: String,
    pub(crate) is_memory: bool,
    pub(crate) mount_point: Option<String>,
    pub(crate) mount_source: Option<String>,
    pub(crate) mount_options: Vec<String>,
    pub(crate) free_bytes: Option<u64>,
    /// The device of the file system first, then those below it.
    pub(crate) devices: Vec<BlockDevice>,
}

/// One block device.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(crate) struct BlockDevice {
    pub(crate) name: String,
    /// "write back" or "write through", as the kernel says it.
    pub(crate) write_cache: Option<String>,
    /// Of a loop device: the file that it shows.
    pub(crate) backing_file: Option<String>,
}

impl Device {
    /// Looks at what lies below this directory.
    ///
    /// # Errors
    /// It is not there, is no directory, or can not be read or written.
    pub(crate) fn below(directory: &Path) -> Result<Device, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::refused(format_args!(
                "{}: {error}; give a directory on the disk that is to be measured",
                directory.display()
            ))
        };
        let metadata = fs::metadata(directory).map_err(|error| failed(&error))?;
        if !metadata.is_dir() {
            return Err(failed(&"it is no directory"));
        }
        let may_write = rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK);
        may_write.map_err(|error| failed(&io::Error::from(error)))?;
        let file_system = filesystem_name(directory).map_err(|error| failed(&error))?;
        let path = fs::canonicalize(directory).map_err(|error| failed(&error))?;
        let number = number(metadata.dev());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = mount_of(&mounts, &path, &number);
        let devices = mount.as_ref().and_then(block_number).unwrap_or(number);
        Ok(Device {
            is_memory: matches!(file_system.as_str(), "tmpfs" | "ramfs"),
            file_system,
            mount_point: mount.as_ref().map(|it| it.place.display().to_string()),
            mount_source: mount.as_ref().map(|it| it.source.clone()),
            mount_options: mount.map(|it| it.options).unwrap_or_default(),
            free_bytes: free_bytes(directory),
            devices: stack(&Path::new(SYSFS).join(devices)),
        })
    }

    /// Whether the file system is mounted with this option.
    pub(crate) fn has_option(&self, option: &str) -> bool {
        self.mount_options.iter().any(|own| own == option)
    }

    /// Whether a write may lie in a volatile cache of a device after the device has answered. Also where that is unknown.
    pub(crate) fn may_cache(&self) -> bool {
        let is_safe = |device: &BlockDevice| device.write_cache.as_deref() == Some("write through");
        self.devices.is_empty() || !self.devices.iter().all(is_safe)
    }

    /// Refuses a disk that has less room than this.
    pub(crate) fn needs_room(&self, bytes: u64) -> Result<(), Failure> {
        match self.free_bytes {
            Some(free) if free < bytes => Err(Failure::refused(format_args!(
                "the disk is full: this needs {}, and {} are free; free some space, or measure in another directory \
                 of the same kind of disk",
                crate::words::bytes(bytes),
                crate::words::bytes(free),
            ))),
            _ => Ok(()),
        }
    }

    /// The device in a few words: `ext4 on vda (write back)`.
    pub(crate) fn words(&self) -> String {
        let name = |device: &BlockDevice| {
            let cache = device.write_cache.as_deref().unwrap_or("write cache unknown");
            match &device.backing_file {
                Some(file) => format!("{} of {file} ({cache})", device.name),
                None => format!("{} ({cache})", device.name),
            }
        };
        let devices: Vec<_> = self.devices.iter().map(name).collect();
        match (devices.is_empty(), &self.mount_source) {
            (false, _) => format!("{} on {}", self.file_system, devices.join(" on ")),
            (true, Some(source)) if !self.is_memory => format!("{} of {source}", self.file_system),
            _ => self.file_system.clone(),
        }
    }
}

/// `st_dev` as the kernel writes it.
fn number(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

/// The number of the block device of a mount. A file system with a number of its own, such as btrfs, names the device as
/// its source.
fn block_number(mount: &MountLine) -> Option<String> {
    if !mount.number.starts_with("0:") {
        return Some(mount.number.clone());
    }
    let source = fs::metadata(&mount.source).ok()?;
    source.file_type().is_block_device().then(|| number(source.rdev()))
}

/// A file system without a size does not say what is free.
fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The device at this place of sysfs, and those that it consists of. Nothing where sysfs does not know it.
fn stack(at: &Path) -> Vec<BlockDevice> {
    let mut found = Vec::new();
    let mut next: Vec<PathBuf> = fs::canonicalize(at).into_iter().collect();
    while let Some(path) = next.pop() {
        let device = described(&path);
        if found.len() == DEEPEST || found.contains(&device) {
            continue;
        }
        found.push(device);
        let slaves = fs::read_dir(path.join("slaves")).into_iter().flatten().flatten();
        let mut below: Vec<_> = slaves.filter_map(|it| fs::canonicalize(it.path()).ok()).collect();
        below.sort();
        next.extend(below.into_iter().rev());
    }
    found
}

/// A partition has no queue of its own: that of its disk, one folder above, is the one.
fn described(path: &Path) -> BlockDevice {
    let is_partition = path.join("partition").exists();
    let disk = if is_partition { path.parent().unwrap_or(path) } else { path };
    let read = |file: &Path| fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
    BlockDevice {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        write_cache: read(&disk.join("queue/write_cache")),
        backing_file: read(&disk.join("loop/backing_file")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A sysfs with a device mapper on a partition of a disk.
    fn sysfs() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("devices/pci/sda/queue")).unwrap();
        fs::create_dir_all(at("devices/pci/sda/sda2")).unwrap();
        fs::create_dir_all(at("devices/virtual/dm-0/queue")).unwrap();
        fs::create_dir_all(at("devices/virtual/dm-0/slaves")).unwrap();
        fs::create_dir_all(at("dev/block")).unwrap();
        fs::write(at("devices/pci/sda/queue/write_cache"), "write back\n").unwrap();
        fs::write(at("devices/pci/sda/sda2/partition"), "2\n").unwrap();
        fs::write(at("devices/virtual/dm-0/queue/write_cache"), "write through\n").unwrap();
        symlink(at("devices/pci/sda/sda2"), at("devices/virtual/dm-0/slaves/sda2")).unwrap();
        symlink(at("devices/virtual/dm-0"), at("dev/block/253:0")).unwrap();
        symlink(at("devices/pci/sda/sda2"), at("dev/block/8:2")).unwrap();
        root
    }

    fn device(name: &str, cache: &str) -> BlockDevice {
        let write_cache = Some(cache.to_owned());
        BlockDevice { name: name.to_owned(), write_cache, backing_file: None }
    }

    #[test]
    fn the_write_cache_is_found_through_device_mapper_and_partition() {
        let root = sysfs();
        let below = |number: &str| stack(&root.path().join("dev/block").join(number));
        assert_eq!(below("8:2"), [device("sda2", "write back")]);
        assert_eq!(below("253:0"), [device("dm-0", "write through"), device("sda2", "write back")]);
        assert_eq!(below("9:9"), []);
    }

    #[test]
    fn a_cache_anywhere_in_the_stack_counts_and_an_unknown_one_too() {
        let with = |devices: &[BlockDevice]| {
            let mut device = Device::below(Path::new("/")).expect("there is a root");
            device.devices = devices.to_vec();
            device.may_cache()
        };
        assert!(!with(&[device("sda", "write through")]));
        assert!(with(&[device("dm-0", "write through"), device("sda", "write back")]));
        assert!(with(&[]));
    }
}
