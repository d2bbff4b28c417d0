//! A full disk stops a start before it begins, and never hides an end.

use std::path::PathBuf;
use std::process::Command;

use crds::journal::{EndReason, RefusedReason};
use jiff::Timestamp;

use crate::host::{Host, TOOLKIT, is_root};

/// A small file system, mounted as a host's root while it lives.
struct Small(PathBuf);

impl Small {
    /// None for users who may not mount.
    fn mount(host: &Host, size: &str) -> Option<Self> {
        std::fs::create_dir(host.root()).expect("folder");
        let options = format!("size={size},mode=0700");
        let mounted = is_root()
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", &options, "pilothouse-test"])
                .arg(host.root())
                .status()
                .expect("mount")
                .success();
        mounted.then(|| Self(host.root()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount")
            .arg("--lazy")
            .arg(&self.0)
            .status()
            .expect("umount")
            .success();
        assert!(done || std::thread::panicking(), "unmounted");
    }
}

/// The toolkit with a limit on the size of files, in blocks of 512 bytes: to programs it looks like a full disk.
fn limited(host: &Host, blocks: u32) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -f {blocks}; exec \"$@\"");
    command
        .args(["-c", &script, "sh", TOOLKIT, "exec", "--root"])
        .arg(host.root());
    command
}

#[test]
fn on_a_full_disk_nothing_is_started() {
    let host = Host::new();
    let Some(_small) = Small::mount(&host, "24k") else {
        return;
    };
    for _ in 0..2 {
        let answer = host.exec(&host.line("full"));
        assert_eq!(answer.refused().reason, RefusedReason::JournalWriteFailed);
        assert!(
            answer.refused().message.contains("No space left"),
            "{:?}",
            answer.refused()
        );
    }
    assert!(
        !host.journal("full").exists(),
        "what was prepared is taken away"
    );
    assert_eq!(host.lines("full"), 0);
}

#[test]
fn a_disk_that_fills_up_costs_output_and_not_the_end() {
    let host = Host::new();
    let Some(_small) = Small::mount(&host, "160k") else {
        return;
    };
    let script = format!(
        "head -c 400000 /dev/zero; dd if=/dev/zero of={}/fill bs=4k 2>/dev/null; echo after >&2",
        host.root().display()
    );
    let answer = host.exec(&host.script("fills", &script));
    let end = answer.end();
    assert_eq!(
        (end.reason, end.exit_code, end.output_bytes),
        (EndReason::Exited, Some(0), 400_006)
    );
    assert_eq!(end.dropped_bytes, 400_006 - answer.bytes().len() as u64);
    assert!(end.dropped_bytes >= 200_000, "{end:?}");
    assert_eq!(host.exec(&host.script("fills", &script)).end(), end);
}

#[test]
fn a_cancel_works_on_a_full_disk() {
    let host = Host::new();
    let Some(_small) = Small::mount(&host, "160k") else {
        return;
    };
    let script = format!(
        "dd if=/dev/zero of={}/fill bs=4k 2>/dev/null; echo full; sleep 1000",
        host.root().display()
    );
    let call = host.begun(&host.script("cancel", &script));
    crate::host::until("the disk is full", || {
        std::fs::write(host.root().join(Timestamp::now().to_string()), [0; 4096]).is_err()
    });
    assert_eq!(host.cancel("cancel").reason, EndReason::Cancelled);
    assert_eq!(call.rest().end().reason, EndReason::Cancelled);
}

#[test]
fn a_limit_on_files_is_a_full_disk_too() {
    let host = Host::new();
    let answer = crate::host::call(limited(&host, 8), &host.line("limited")).rest();
    assert_eq!(answer.refused().reason, RefusedReason::JournalWriteFailed);
    assert_eq!(host.lines("limited"), 0);
    let answer = crate::host::call(
        limited(&host, 64),
        &host.script("middle", "head -c 600000 /dev/zero; echo end"),
    )
    .rest();
    assert_eq!(
        (answer.end().exit_code, answer.end().output_bytes),
        (Some(0), 600_004)
    );
    assert!(answer.end().dropped_bytes > 500_000);
}
