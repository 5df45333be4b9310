//! On what the figures were taken, as far as the kernel tells.

use std::fs;
use std::path::Path;

/// Processor, cores, memory, kernel. No names of machines or people.
pub(super) fn describe() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&processors, "model name").unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{model}, {cores} cores, {} GiB, Linux {kernel}", kib >> 20)
}

/// The kind of file system that holds a folder: `tmpfs` means that no disk was measured.
pub(super) fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let kind = file_system_in(&mounts, &folder).unwrap_or("unknown file system");
    format!("sources, repositories, caches and targets on {kind}")
}

fn file_system_in<'a>(mounts: &'a str, folder: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    // The longest mount point above the folder; of two on one point, the later covers the earlier.
    let above = mounts.filter(|(point, _)| folder.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "a / ext4 rw 0 0\nb /dev/shm tmpfs rw 0 0\n";
        assert_eq!(file_system_in(mounts, Path::new("/dev/shm/x")), Some("tmpfs"));
        assert_eq!(file_system_in(mounts, Path::new("/dev/shmall")), Some("ext4"));
    }
}
