//! What container runtimes say in prose when a program can not be started. They have no codes for it, so the words are read here and nowhere else.

use super::reason;

/// A program that was not started: category and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotStarted {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Reads the words of containerd, CRI-O, runc and crun; `None` when they do not say that nothing was started.
pub(super) fn not_started(said: &str, program: &str) -> Option<NotStarted> {
    let said = said.trim_start_matches("Internal error occurred: ");
    let words = said.to_lowercase();
    let has = |part: &str| words.contains(part);
    let start = has("unable to start container process")
        || has("failed to start exec")
        || has("failed to create containerd task")
        || has("executable file");
    if start && !has("chdir") && (has("not found") || has("no such file or directory")) {
        let message = match program {
            "sh" | "bash" | "ash" | "/bin/sh" | "/bin/bash" => format!(
                "the container has no `{program}` (distroless?); use a program that it has, a pod step or an ephemeral container"
            ),
            _ => format!(
                "the container has no `{program}`; use a program that it has, or a pod step"
            ),
        };
        return Some(NotStarted {
            reason: reason::COMMAND_NOT_FOUND,
            message,
        });
    }
    if start {
        return Some(NotStarted {
            reason: reason::START_FAILED,
            message: said.to_owned(),
        });
    }
    let stopped = has("container not found")
        || has("container is not running")
        || has("container_exited")
        || has("container is not created or running")
        || has("no running task found")
        || has("cannot exec in a stopped")
        || has("cannot exec into a container in a completed pod");
    stopped.then(|| NotStarted {
        reason: reason::CONTAINER_NOT_RUNNING,
        message: said.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{not_started, reason};

    const CONTAINERD: &str = r#"Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "0c1": OCI runtime exec failed: exec failed: unable to start container process: exec: "sh": executable file not found in $PATH"#;

    #[test]
    fn a_missing_program_is_known_in_every_dialect() {
        let said = [
            CONTAINERD,
            r#"Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "1": OCI runtime exec failed: exec failed: unable to start container process: exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown"#,
            "Internal error occurred: error executing command in container: executable file `sh` not found in $PATH: No such file or directory",
            r#"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "sh": executable file not found in $PATH"#,
        ];
        for said in said {
            let read = not_started(said, "sh").expect(said);
            assert_eq!(read.reason, reason::COMMAND_NOT_FOUND, "{said}");
            assert!(
                read.message.contains("the container has no `sh`"),
                "{}",
                read.message
            );
        }
    }

    #[test]
    fn other_refusals_of_the_runtime_keep_its_words() {
        let denied = r#"failed to start exec "1": OCI runtime exec failed: exec failed: unable to start container process: exec: "/etc/passwd": permission denied"#;
        let folder = "failed to create containerd task: OCI runtime create failed: chdir to cwd (\"/x\") set in config.json failed: no such file or directory";
        for said in [denied, folder] {
            let read = not_started(said, "x").expect(said);
            assert_eq!(
                (read.reason, read.message.as_str()),
                (reason::START_FAILED, said)
            );
        }
        let read = not_started(r#"container not found ("app")"#, "x").expect("read");
        assert_eq!(read.reason, reason::CONTAINER_NOT_RUNNING);
    }

    #[test]
    fn anything_else_may_have_begun() {
        for said in [
            "",
            "command terminated with signal",
            "error reading from error stream: EOF",
        ] {
            assert_eq!(not_started(said, "sh"), None, "{said}");
        }
    }
}
