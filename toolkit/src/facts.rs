//! `toolkit facts`: what the host says about itself, read from files; nothing is executed.

use std::collections::HashMap;
use std::fs;

use crds::journal::Facts;

/// Changes at every boot; empty where the kernel does not say.
pub fn boot_id() -> String {
    line("/proc/sys/kernel/random/boot_id")
}

/// Gathers what can be read.
pub fn gather() -> Facts {
    let release = release();
    let of = |name: &str| release.get(name).cloned().unwrap_or_default();
    let machine = nix::sys::utsname::uname().ok();
    Facts {
        hostname: line("/proc/sys/kernel/hostname"),
        os: of("ID"),
        os_version: of("VERSION_ID"),
        kernel: line("/proc/sys/kernel/osrelease"),
        arch: machine
            .map(|m| m.machine().to_string_lossy().into_owned())
            .unwrap_or_default(),
        boot_id: boot_id(),
        machine_id: line("/etc/machine-id"),
        cpus: std::thread::available_parallelism()
            .map_or(0, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        memory_bytes: memory(),
        uptime_seconds: line("/proc/uptime")
            .split('.')
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
    }
}

fn line(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn release() -> HashMap<String, String> {
    let text = fs::read_to_string("/etc/os-release")
        .or_else(|_| fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect()
}

fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    total.map_or(0, |kibibytes: u64| kibibytes * 1024)
}
