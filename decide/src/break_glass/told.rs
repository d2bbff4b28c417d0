//! What others are told of a BreakGlass: the audit, each time once, and whoever reads events.

use crds::{
    audit::{AuditDecision, AuditSubject, Statement},
    names::GROUP,
    v1alpha1::{BreakGlass, BreakGlassStatus, Verdict, find_condition, set_condition},
};
use jiff::Timestamp;

use super::digest;

/// What the audit does not have on disk yet: that it opened and then that it ended, or that it was refused.
pub fn of_audit(glass: &BreakGlass, namespace_uid: String) -> Option<Statement> {
    let (decision, at, reason) = untold(glass)?;
    let meta = glass.metadata.clone();
    Some(Statement {
        at,
        decision,
        actor: glass.spec.requested_by.clone().unwrap_or_default(),
        verb: "break-glass".to_owned(),
        subject: AuditSubject {
            group: GROUP.to_owned(),
            kind: "BreakGlass".to_owned(),
            namespace: meta.namespace.unwrap_or_default(),
            namespace_uid,
            name: meta.name.unwrap_or_default(),
            uid: meta.uid.unwrap_or_default(),
        },
        policy: String::new(),
        rule: String::new(),
        reason,
        digest: digest(glass),
    })
}

/// What became of it that the audit does not have, when, and why.
fn untold(glass: &BreakGlass) -> Option<(AuditDecision, Timestamp, String)> {
    let status = glass.status.as_ref()?;
    let live = find_condition(&status.conditions, "Live")?;
    let kept = find_condition(&status.conditions, "Audited").map(|c| c.reason.as_str());
    let spec = &glass.spec;
    let (opened, ended) = (status.opened_at.as_ref(), status.ended_at.as_ref());
    match (kept, opened, ended) {
        (None, None, _) => {
            let why = format!("{}: {}", live.reason, live.message);
            Some((AuditDecision::Refused, live.last_transition_time.0, why))
        }
        (None, Some(opened), _) => {
            let until = status.expires_at.as_ref().map_or(opened.0, |at| at.0);
            let why = format!(
                "incident {}, until {until:.0}: {}",
                spec.incident, spec.reason
            );
            Some((AuditDecision::Opened, opened.0, why))
        }
        (Some("Opened"), _, Some(ended)) => {
            let how = [live.reason.as_str(), live.message.as_str()];
            let how = how.into_iter().filter(|word| !word.is_empty());
            let why = format!(
                "{}, incident {}",
                how.collect::<Vec<_>>().join(": "),
                spec.incident
            );
            Some((AuditDecision::Ended, ended.0, why))
        }
        _ => None,
    }
}

/// The status once the audit has that on disk.
pub fn kept(glass: &BreakGlass, decision: AuditDecision, now: Timestamp) -> BreakGlassStatus {
    let mut status = glass.status.clone().unwrap_or_default();
    let reason = decision.as_str();
    let verdict = Verdict::yes("Audited", reason, "");
    set_condition(
        &mut status.conditions,
        &verdict,
        glass.metadata.generation,
        now,
    );
    status
}

/// Where it has moved to, whether that is bad, and what there is to say of it; none where it stands as before.
pub fn moved<'a>(
    before: Option<&BreakGlassStatus>,
    status: &'a BreakGlassStatus,
) -> Option<(bool, &'a str, &'a str)> {
    let of = |status: &'a BreakGlassStatus| find_condition(&status.conditions, "Ready");
    let was = before.and_then(|s| find_condition(&s.conditions, "Ready"));
    let ready = of(status)?;
    let is_news =
        was.is_none_or(|was| (&was.status, &was.reason) != (&ready.status, &ready.reason));
    is_news.then_some((ready.status != "True", &ready.reason, &ready.message))
}
