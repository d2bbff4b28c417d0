//! Who has looked at a BreakGlass after its end: somebody else than whoever broke it, who decided on what it says.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    Approval, BreakGlass, BreakGlassSpec, BreakGlassStatus, Decision, SubjectKind, Verdict, clip,
    find_condition,
};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{name, user};
use crate::{Refusal, approval};

/// What is decided on; one that was made anew under its name is another.
pub fn digest(glass: &BreakGlass) -> String {
    let said = BreakGlassSpec {
        closed: false,
        requested_by: None,
        ..glass.spec.clone()
    };
    let held = json!({"breakGlass": glass.metadata.uid, "by": user(glass), "says": said});
    format!("sha256:{}", hex::encode(Sha256::digest(held.to_string())))
}

/// Whether a decision about it is one that counts. A rejection ends it at any time; an approval of what goes on is one of what nobody knows yet.
pub fn counts(glass: &BreakGlass, approval: &Approval, now: Timestamp) -> Result<(), Refusal> {
    is_about(glass, approval, now)?;
    let ended = glass.status.as_ref().and_then(|s| s.ended_at.as_ref());
    let created = approval.metadata.creation_timestamp.as_ref();
    // Creation times are whole seconds.
    let after = |ended: Timestamp| created.is_some_and(|at| at.0.as_second() >= ended.as_second());
    if approval.spec.decision == Decision::Reject || ended.is_some_and(|at| after(at.0)) {
        return Ok(());
    }
    let message =
        "it was still live then; look at what was done once it has ended, and decide anew";
    Err(Refusal::new("TooEarly", message))
}

fn is_about(glass: &BreakGlass, approval: &Approval, now: Timestamp) -> Result<(), Refusal> {
    let (digest, writers) = (digest(glass), BTreeSet::from([user(glass).to_owned()]));
    let content = approval::Content {
        kind: SubjectKind::BreakGlass,
        name: name(glass),
        step: None,
        digest: &digest,
        writers: &writers,
    };
    if !content.is_named(approval) {
        return Err(Refusal::new("NotFound", "it is about another object"));
    }
    content.counts(approval, now)
}

/// Who has rejected it and why, whenever that was.
pub(super) fn rejected<'a>(
    glass: &BreakGlass,
    approvals: &'a [Approval],
) -> Option<(&'a str, &'a str)> {
    let rejects = |a: &&Approval| {
        // A rejection has no end of its own that could matter here.
        a.spec.decision == Decision::Reject && is_about(glass, a, Timestamp::MIN).is_ok()
    };
    let by = approvals.iter().find(rejects)?;
    Some((
        approval::user(by),
        by.spec.reason.as_deref().unwrap_or_default(),
    ))
}

/// Whether somebody has looked at it; what is said of that once stays.
pub(super) fn reviewed(
    glass: &BreakGlass,
    status: &mut BreakGlassStatus,
    approvals: &[Approval],
    live: &Verdict,
) -> Verdict {
    let told = find_condition(&status.conditions, "Reviewed").filter(|c| c.status == "True");
    if let Some(told) = told {
        let reasons = ["Approved", "Rejected", "NotOpened"];
        let reason = reasons.into_iter().find(|reason| *reason == told.reason);
        return Verdict::yes("Reviewed", reason.unwrap_or("Approved"), &told.message);
    }
    if status.opened_at.is_none() {
        return Verdict::yes("Reviewed", "NotOpened", "it has let nobody pass");
    }
    if live.status == "True" {
        return Verdict::no("Reviewed", "Live", "it has not ended yet");
    }
    let ended = BreakGlass {
        status: Some(status.clone()),
        ..glass.clone()
    };
    let yes = |a: &&Approval| {
        a.spec.decision == Decision::Approve && counts(&ended, a, Timestamp::MIN).is_ok()
    };
    let (by, reason, message) = match (rejected(glass, approvals), approvals.iter().find(yes)) {
        (Some((by, why)), _) => (by, "Rejected", format!("rejected by {by}: {why}")),
        (None, Some(a)) => {
            let (by, why) = (approval::user(a), a.spec.reason.as_deref());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            (by, "Approved", format!("approved by {by}{why}"))
        }
        (None, None) => {
            let message = format!(
                "somebody other than {} looks at what was done and says so: kubectl pilothouse approve breakglass/{}",
                user(glass),
                name(glass)
            );
            return Verdict::no("Reviewed", "AwaitingReview", message);
        }
    };
    status.reviewed_by = Some(clip(by, 512));
    Verdict::yes("Reviewed", reason, message)
}
