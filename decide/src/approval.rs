//! Which decision counts: it is about one content, comes from somebody who wrote none of it, and falls with every change.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    Approval, ApprovalStatus, Decision, SubjectKind, Verdict, find_condition, set_condition,
};
use jiff::Timestamp;

use crate::Refusal;

/// What is decided on, as it is now, and who wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    pub kind: SubjectKind,
    pub name: &'a str,
    /// The step that waits for it; none where a policy holds the whole.
    pub step: Option<&'a str>,
    pub digest: &'a str,
    pub writers: &'a BTreeSet<String>,
}

impl Content<'_> {
    /// What those who may have decided: nothing, that it may be carried out, or that it may not.
    pub fn decided(&self, approvals: &[Approval], now: Timestamp) -> Option<Result<(), Refusal>> {
        let counting = approvals.iter().filter(|a| self.is_named(a));
        let counting: Vec<_> = counting.filter(|a| self.counts(a, now).is_ok()).collect();
        let rejected = counting
            .iter()
            .find(|a| a.spec.decision == Decision::Reject);
        rejected.map_or_else(
            || (!counting.is_empty()).then_some(Ok(())),
            |by| Some(Err(self.rejected(by))),
        )
    }

    fn rejected(&self, by: &Approval) -> Refusal {
        let message = format!(
            "{:?} {} was rejected by {}: {}",
            self.kind,
            self.name,
            user(by),
            by.spec.reason.as_deref().unwrap_or_default()
        );
        Refusal::new("Rejected", message)
    }

    /// Whether a decision is about the object, or its step, whatever that says now.
    pub fn is_named(&self, approval: &Approval) -> bool {
        let subject = &approval.spec.subject;
        (subject.kind, subject.name.as_str(), subject.step.as_deref())
            == (self.kind, self.name, self.step)
    }

    /// Whether a decision about the object is one about this content.
    pub fn counts(&self, approval: &Approval, now: Timestamp) -> Result<(), Refusal> {
        let (by, spec) = (user(approval), &approval.spec);
        let expired = spec.expires.as_ref().filter(|at| at.0 <= now);
        if self.writers.is_empty() {
            let message = "nobody knows who wrote it; apply it, or create the run, anew while the admission policies of the chart are in force";
            return Err(Refusal::new("WritersUnknown", message));
        }
        if self.writers.contains(by) || by.is_empty() {
            let message =
                format!("{by} wrote part of it or asked for it; somebody else has to decide");
            return Err(Refusal::new("OwnWork", message));
        }
        if spec.digest != self.digest {
            let message = format!(
                "it is {} now, not {}; look at it and decide anew",
                self.digest, spec.digest
            );
            return Err(Refusal::new("Changed", message));
        }
        expired.map_or(Ok(()), |at| {
            let message = format!("it counted until {}; decide anew", at.0);
            Err(Refusal::new("Expired", message))
        })
    }
}

/// Who decided; nobody where that was not stamped.
pub fn user(approval: &Approval) -> &str {
    approval
        .spec
        .requested_by
        .as_ref()
        .map_or("", |by| &by.user)
}

/// What an Approval's status says; one that never counted is stalled.
pub fn status(approval: &Approval, counts: &Result<(), Refusal>, now: Timestamp) -> ApprovalStatus {
    let generation = approval.metadata.generation;
    let mut status = ApprovalStatus {
        observed_generation: generation,
        ..approval.status.clone().unwrap_or_default()
    };
    let is_new = find_condition(&status.conditions, "Counts").is_none();
    let mut set =
        |verdict: &Verdict| set_condition(&mut status.conditions, verdict, generation, now);
    match counts {
        Ok(()) => {
            set(&Verdict::yes("Counts", "Valid", ""));
            set(&Verdict::no("Stalled", "Valid", ""));
        }
        Err(refusal) => {
            set(&Verdict::no("Counts", refusal.reason, &refusal.message));
            if is_new {
                set(&Verdict::yes("Stalled", refusal.reason, &refusal.message));
            }
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::v1alpha1::condition_is_true;
    use serde_json::json;

    const NOW: i64 = 1_000;

    fn approval(by: &str, digest: &str, more: &serde_json::Value) -> Approval {
        let mut spec = json!({"subject": {"kind": "Script", "name": "s"}, "digest": digest, "decision": "Approve",
            "requestedBy": {"user": by, "groups": []}});
        let more = more.as_object().expect("fields").clone();
        spec.as_object_mut().expect("a spec").extend(more);
        Approval::new("a", serde_json::from_value(spec).expect("a spec"))
    }

    fn decided(approvals: &[Approval]) -> Option<Result<(), &'static str>> {
        let writers = BTreeSet::from(["ann".to_owned()]);
        let content = Content {
            kind: SubjectKind::Script,
            name: "s",
            step: None,
            digest: "now",
            writers: &writers,
        };
        let now = Timestamp::constant(NOW, 0);
        let decided = content.decided(approvals, now);
        decided.map(|verdict| verdict.map_err(|refusal| refusal.reason))
    }

    #[test]
    fn only_others_decide_and_only_on_what_it_is_now() {
        let by = |user: &str, digest: &str| approval(user, digest, &json!({}));
        assert_eq!(decided(&[]), None);
        assert_eq!(decided(&[by("bob", "now")]), Some(Ok(())));
        assert_eq!(decided(&[by("ann", "now")]), None, "her own work");
        assert_eq!(decided(&[by("", "now")]), None, "nobody was stamped");
        assert_eq!(decided(&[by("bob", "before")]), None, "it was changed");
        let other = json!({"subject": {"kind": "Script", "name": "t"}});
        assert_eq!(decided(&[approval("bob", "now", &other)]), None);
        let other = json!({"subject": {"kind": "Job", "name": "s"}});
        assert_eq!(decided(&[approval("bob", "now", &other)]), None);
    }

    #[test]
    fn nobody_decides_on_what_nobody_is_known_to_have_written() {
        let content = Content {
            kind: SubjectKind::Script,
            name: "s",
            step: None,
            digest: "now",
            writers: &BTreeSet::new(),
        };
        let given = approval("bob", "now", &json!({}));
        let counts = content.counts(&given, Timestamp::UNIX_EPOCH);
        assert_eq!(
            counts.map_err(|refusal| refusal.reason),
            Err("WritersUnknown")
        );
    }

    #[test]
    fn a_decision_ends_at_its_expiry_and_one_rejection_outweighs_all() {
        let until = |second| json!({"expires": Timestamp::constant(second, 0).to_string()});
        assert_eq!(decided(&[approval("bob", "now", &until(NOW))]), None);
        assert_eq!(
            decided(&[approval("bob", "now", &until(NOW + 1))]),
            Some(Ok(()))
        );
        let no = approval(
            "eve",
            "now",
            &json!({"decision": "Reject", "reason": "not today"}),
        );
        let yes = approval("bob", "now", &json!({}));
        assert_eq!(decided(&[yes, no]), Some(Err("Rejected")));
    }

    #[test]
    fn what_never_counted_is_stalled_and_what_counted_once_is_not() {
        let mut told = approval("bob", "now", &json!({}));
        let now = Timestamp::UNIX_EPOCH;
        let changed = Err(Refusal::new("Changed", "it is another now"));
        let never = status(&told, &changed, now);
        assert!(condition_is_true(&never.conditions, "Stalled"));
        told.status = Some(status(&told, &Ok(()), now));
        let fell = status(&told, &changed, now);
        told.status = Some(fell.clone());
        assert_eq!(status(&told, &changed, now), fell, "looked at once more");
        assert!(!condition_is_true(&fell.conditions, "Stalled"));
        assert!(!condition_is_true(&fell.conditions, "Counts"));
    }
}
