//! On what the figures were taken, as far as the kernel tells.

use std::fs;
use std::path::Path;

/// Instructions that the hot loops ask for.
const FLAGS: [&str; 9] = ["sha_ni", "aes", "vaes", "pclmulqdq", "vpclmulqdq", "avx2", "avx512f", "avx512ifma", "gfni"];

/// Processor, cores, memory, kernel. No names of machines or people.
pub(super) fn describe() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&processors, "model name").unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let family = field(&processors, "cpu family").unwrap_or("?");
    let generation = field(&processors, "model").unwrap_or("?");
    let flags = flags_in(field(&processors, "flags").unwrap_or_default());
    format!("{model} (family {family}, model {generation}; {flags}), {cores} cores, {} GiB, Linux {kernel}", kib >> 20)
}

/// Which of the instructions that matter are there, and which are not.
fn flags_in(all: &str) -> String {
    let (there, missing): (Vec<&str>, Vec<&str>) =
        FLAGS.into_iter().partition(|flag| all.split(' ').any(|word| word == *flag));
    let without = if missing.is_empty() { String::new() } else { format!("; no {}", missing.join(" ")) };
    there.join(" ") + &without
}

/// The kind of file system that holds a folder: `tmpfs` means that no disk was measured.
pub(super) fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    file_system_in(&mounts, &folder).unwrap_or("unknown file system").to_owned()
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

    #[test]
    fn flags_are_whole_words() {
        let said = flags_in("fpu vaes avx2 sha_ni");
        assert!(said.starts_with("sha_ni vaes avx2; no aes "), "{said}");
    }
}
