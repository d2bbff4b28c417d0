//! Names that several rooms must spell the same way: labels, finalizers, accounts and the credential Secret's type.

/// API group of the kinds.
pub const GROUP: &str = "pilothouse.dev";
/// Label of everything that a run owns: the run's name.
pub const LABEL_RUN: &str = "pilothouse.dev/run";
/// Label of everything that a run owns: the run's UID, which a recreated run does not share.
pub const LABEL_RUN_UID: &str = "pilothouse.dev/run-uid";
/// Label of a step pod: the step's name.
pub const LABEL_STEP: &str = "pilothouse.dev/step";
/// Label of a step pod that was let go of: it is deleted with the others that have it.
pub const LABEL_RELEASED: &str = "pilothouse.dev/released";
/// Label of a ControllerRevision that holds a Script's revision: the Script's name.
pub const LABEL_SCRIPT: &str = "pilothouse.dev/script";
/// Label of a ControllerRevision that holds a Parameter's version: the Parameter's name.
pub const LABEL_PARAMETER: &str = "pilothouse.dev/parameter";
/// Label of a JobRun that a ScheduledTask created: the task's UID.
pub const LABEL_SCHEDULE: &str = "pilothouse.dev/schedule";
/// Keeps a JobRun until what it started has ended.
pub const FINALIZER_RUN: &str = "pilothouse.dev/run";
/// Keeps a ChangeTicket while its run goes on, and until records have it and its ChangeSolution knows how it ended.
pub const FINALIZER_CHANGE: &str = "pilothouse.dev/change";
/// Keeps a step pod until its result is acknowledged by records.
pub const FINALIZER_RESULT: &str = "pilothouse.dev/result";
/// Annotation of a step pod, and of a run that a step started: the digest of the effect key that it does.
pub const ANNOTATION_EFFECT: &str = "pilothouse.dev/effect";
/// Type of a Secret that holds SSH credentials and names where they may be used.
pub const SECRET_TYPE_SSH: &str = "pilothouse.dev/ssh";
/// Account that runs use when they name none.
pub const DEFAULT_RUNNER: &str = "pilothouse-runner";
/// Audience of the token with which the operator writes records.
pub const RECORDS_AUDIENCE: &str = "pilothouse-records";

/// A name as a label, which takes no more than 63 bytes of it.
pub fn label(name: &str) -> String {
    let cut = &name[..name.len().min(63)];
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
}
