//! Whether the process that wrote a lock is still there: known for sure only on this machine, in this boot and in this
//! process namespace. Our locks say which these are, in fields that restic passes over.

use format::Lock;

/// Our field in a lock file: where its process id means something. restic passes over it.
const PROCESS_WORLD: &str = "process_world";

/// Our field in a lock file: when its process began, as the kernel counts. Another process with the same id is another.
const PROCESS_BEGAN: &str = "process_began";

/// Says in `lock`, which has our process id, where that id means something and since when it is ours.
pub(super) fn sign(lock: &mut Lock) {
    lock.other.insert(PROCESS_WORLD.to_owned(), process_world().into());
    if let Some(began) = process_began(lock.pid) {
        lock.other.insert(PROCESS_BEGAN.to_owned(), began.into());
    }
}

/// True when the process that wrote this lock ran in our world and is gone, beyond doubt.
pub(super) fn is_gone(lock: &Lock) -> bool {
    let world = process_world();
    let is_of_this_world = lock.other.get(PROCESS_WORLD).and_then(|value| value.as_str()) == Some(world.as_str());
    !world.is_empty() && is_of_this_world && !is_the_process(lock)
}

/// Names the boot of this kernel and the process namespace: only inside it does a process id mean anything.
fn process_world() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    match (boot.trim(), namespace.to_str()) {
        ("", _) | (_, None | Some("")) => String::new(),
        (boot, Some(namespace)) => format!("{boot}/{namespace}"),
    }
}

/// Whether the process that wrote this lock, in our world, may still be there. One that began at another time than the
/// lock says only has the same id.
fn is_the_process(lock: &Lock) -> bool {
    let told = lock.other.get(PROCESS_BEGAN).and_then(serde_json::Value::as_u64);
    let is_another = told.zip(process_began(lock.pid)).is_some_and(|(told, began)| told != began);
    process_exists(lock.pid) && !is_another
}

/// When a process began, in the kernel's ticks since its boot; none where that cannot be found out.
fn process_began(pid: i64) -> Option<u64> {
    /// Its place in `/proc/PID/stat`, counted from behind the name (proc(5), field 22).
    const FIELD: usize = 19;
    let status = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, so it is passed over from behind.
    let behind_name = status.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(status.get(behind_name..)?).ok()?;
    fields.split_whitespace().nth(FIELD)?.parse().ok()
}

/// Whether a process with this id is there. Where that cannot be found out, it is taken to be there.
fn process_exists(pid: i64) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return true };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use format::Moment;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_process_id_that_was_given_away_again_is_another_process() {
        let own = i64::from(std::process::id());
        let mut lock = Lock::new(Moment::from(&Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC)), true);
        lock.pid = own;
        assert!(is_the_process(&lock), "nothing is told of its beginning");
        let began = process_began(own).unwrap();
        lock.other.insert(PROCESS_BEGAN.to_owned(), began.into());
        assert!(is_the_process(&lock));
        lock.other.insert(PROCESS_BEGAN.to_owned(), (began + 1).into());
        assert!(!is_the_process(&lock));
    }
}
