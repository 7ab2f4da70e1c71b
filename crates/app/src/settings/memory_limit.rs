//! How much memory clients may make the program hold.
use std::fs;

use super::{Raw, value::Value};

/// The setting `max_memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryLimit {
    /// A quarter of what the machine has or this program may use.
    Auto,
    Bytes(usize),
}

/// The limit if it is not known how much memory the machine has.
const FALLBACK: usize = 1 << 30;

impl MemoryLimit {
    /// The limit in bytes.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Auto => available(|path| fs::read_to_string(path).ok()).map_or(FALLBACK, |available| available / 4),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// The memory of the machine, or what the control group of this program may use of it, in bytes; read from files of Linux.
fn available(read: impl Fn(&str) -> Option<String>) -> Option<usize> {
    let machine = read("/proc/meminfo").and_then(|meminfo| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
    });
    // The path of the group of version 2, which a container sees as `/`.
    let group = read("/proc/self/cgroup").and_then(|groups| {
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        Some(format!("/sys/fs/cgroup{}/memory.max", path.trim_end_matches('/')))
    });
    let files =
        [group.as_deref(), Some("/sys/fs/cgroup/memory.max"), Some("/sys/fs/cgroup/memory/memory.limit_in_bytes")];
    // A group without a limit says `max`.
    let limits = files.into_iter().flatten().filter_map(|file| read(file)?.trim().parse().ok());
    limits.chain(machine).min()
}

impl Value for MemoryLimit {
    const FORM: &'static str = "SIZE|auto";

    fn parse(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::One(text) if text.trim() == "auto" => Ok(Self::Auto),
            raw => usize::parse(raw).map(Self::Bytes).map_err(|problem| format!("{problem}, or `auto`")),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Auto => "\"auto\"".into(),
            Self::Bytes(bytes) => bytes.to_toml(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_of_machine_and_control_group_is_available() {
        let meminfo = ("/proc/meminfo", "MemTotal:        8000 kB\nMemFree: 1 kB\n");
        let group = ("/proc/self/cgroup", "0::/a.slice/b.service\n");
        let limit = ("/sys/fs/cgroup/a.slice/b.service/memory.max", "4096000\n");
        for (files, expected) in [
            (&[meminfo][..], Some(8_192_000)),
            (&[meminfo, group, limit], Some(4_096_000)),
            (&[meminfo, group, (limit.0, "max\n")], Some(8_192_000)),
            (&[meminfo, ("/sys/fs/cgroup/memory.max", "1000\n")], Some(1_000)),
            (&[meminfo, ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")], Some(8_192_000)),
            (&[], None),
        ] {
            let read = |path: &str| files.iter().find(|file| file.0 == path).map(|file| file.1.to_owned());
            assert_eq!(available(read), expected, "{files:?}");
        }
    }

    #[test]
    fn a_size_or_auto_is_a_limit() {
        let parse = |text: &str| MemoryLimit::parse(&Raw::One(text.into()));
        assert_eq!(parse("auto"), Ok(MemoryLimit::Auto));
        assert_eq!(parse("64MiB").unwrap().to_toml(), "\"64MiB\"");
        assert!(parse("much").unwrap_err().contains("`auto`"));
        assert!(MemoryLimit::Auto.bytes() > 1 << 20);
    }
}
