//! What the kernel says of a process's memory.

use std::process::Child;
use std::time::Duration;

/// How often a process is looked at.
const LOOK_GAP: Duration = Duration::from_millis(2);

/// The number behind `name` in a status file of the kernel, in KiB; 0 when it is not there.
#[must_use]
pub fn kibibytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Waits for the end of `child`; the most anonymous memory that it was seen to have, in KiB. Pages
/// of files, such as a tape's, are not in it.
///
/// # Errors
/// When it cannot be waited for.
pub fn watch(child: &mut Child) -> std::io::Result<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut largest = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        largest = largest.max(kibibytes(&text, "RssAnon:"));
        std::thread::sleep(LOOK_GAP);
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use super::kibibytes;

    #[test]
    fn sizes_are_found() {
        let status = "VmRSS:\t  900 kB\nRssAnon:\t    1234 kB\nRssShmem:\t 5 kB\n";
        assert_eq!(kibibytes(status, "RssAnon:"), 1234);
        assert_eq!(kibibytes(status, "RssShmem:"), 5);
        assert_eq!(kibibytes("", "RssAnon:"), 0);
    }
}
