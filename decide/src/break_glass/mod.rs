//! What becomes of a BreakGlass: whether it opens, whom it lets past which policy, how it ends, and who has looked at it afterwards.

mod review;
mod told;

pub use review::{counts, digest};
pub use told::{kept, moved, of_audit};

#[cfg(test)]
mod tests;

use crds::v1alpha1::{
    Approval, BreakGlass, BreakGlassStatus, Broken, Glass, GlassRecord, Verdict, condition_is_true,
    find_condition, set_condition,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::Refusal;

/// How long after its end somebody may leave one unreviewed and still break the glass of the namespace anew.
const UNREVIEWED: SignedDuration = SignedDuration::from_hours(24);

/// The status at an instant, and when it says something else by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub status: BreakGlassStatus,
    pub again: Option<Timestamp>,
}

/// The status at an instant, by all Approvals of it and all other BreakGlasses of its namespace. What has ended stays ended, and what is reviewed stays reviewed.
pub fn status(
    glass: &BreakGlass,
    approvals: &[Approval],
    others: &[BreakGlass],
    now: Timestamp,
) -> Told {
    let mut status = BreakGlassStatus {
        observed_generation: glass.metadata.generation,
        digest: Some(digest(glass)),
        ..glass.status.clone().unwrap_or_default()
    };
    let live = live(glass, &mut status, approvals, others, now);
    let reviewed = review::reviewed(glass, &mut status, approvals, &live);
    let ready = ready(glass, &live, &reviewed);
    let stalls = status.opened_at.is_none().then_some(&live);
    let waits = (ready.status == "Unknown").then_some(&ready);
    if waits.is_none() {
        status.conditions.retain(|c| c.type_ != "Reconciling");
    }
    let as_type = |type_, told: &Verdict| Verdict::yes(type_, told.reason, &told.message);
    let waits = waits.map(|told| as_type("Reconciling", told));
    let stalls = stalls.map(|told| as_type("Stalled", told));
    for verdict in [&live, &reviewed, &ready]
        .into_iter()
        .chain(&waits)
        .chain(&stalls)
    {
        set_condition(
            &mut status.conditions,
            verdict,
            glass.metadata.generation,
            now,
        );
    }
    let ends = status.expires_at.as_ref().map(|at| at.0);
    Told {
        status,
        again: ends.filter(|_| live.status == "True"),
    }
}

/// Whether it lets pass. It opens at most once, and ends once.
fn live(
    glass: &BreakGlass,
    status: &mut BreakGlassStatus,
    approvals: &[Approval],
    others: &[BreakGlass],
    now: Timestamp,
) -> Verdict {
    if let Some(ended) = over(status) {
        return ended;
    }
    if status.opened_at.is_none() {
        let until = until(glass, now);
        if let Err(refusal) = opens(glass, others, until, now) {
            return Verdict::no("Live", refusal.reason, refusal.message);
        }
        (status.opened_at, status.expires_at) = (Some(Time(now)), Some(Time(until)));
    }
    let until = status.expires_at.as_ref().map_or(now, |at| at.0);
    let ended = if let Some(by) = review::rejected(glass, approvals) {
        let message = format!("rejected by {}: {}", by.0, by.1);
        Some((now, "Rejected", message))
    } else if until <= now {
        Some((until, "Expired", String::new()))
    } else if glass.spec.closed || glass.metadata.deletion_timestamp.is_some() {
        Some((now, "Closed", String::new()))
    } else {
        None
    };
    match ended {
        None => Verdict::yes("Live", "Open", format!("until {until:.0}")),
        Some((at, reason, message)) => {
            status.ended_at = Some(Time(at));
            Verdict::no("Live", reason, message)
        }
    }
}

/// What was said of one that is over, or was refused.
fn over(status: &BreakGlassStatus) -> Option<Verdict> {
    let told = find_condition(&status.conditions, "Live").filter(|c| c.status == "False")?;
    let reasons = [
        "NotStamped",
        "TooLate",
        "Unreviewed",
        "Expired",
        "Closed",
        "Rejected",
    ];
    let reason = reasons.into_iter().find(|reason| *reason == told.reason)?;
    Some(Verdict::no("Live", reason, &told.message))
}

/// When it ends by itself; it counts from its creation, so that an operator that comes late gives nobody more time.
fn until(glass: &BreakGlass, now: Timestamp) -> Timestamp {
    let created = glass.metadata.creation_timestamp.as_ref();
    let length = glass.spec.expires_after.whole();
    let until = created.map_or(now, |at| at.0).saturating_add(length);
    until.unwrap_or(now)
}

fn opens(
    glass: &BreakGlass,
    others: &[BreakGlass],
    until: Timestamp,
    now: Timestamp,
) -> Result<(), Refusal> {
    if user(glass).is_empty() {
        let message = "spec.requestedBy is empty: the admission policies of the chart are not in force; install them and create it anew";
        return Err(Refusal::new("NotStamped", message));
    }
    if until <= now || glass.spec.closed || glass.metadata.deletion_timestamp.is_some() {
        let message = "it was over before the operator looked at it; create another one";
        return Err(Refusal::new("TooLate", message));
    }
    let left = others.iter().find(|other| is_left(glass, other, now));
    left.map_or(Ok(()), |other| {
        let message = format!(
            "BreakGlass {} of {} has ended more than 24 hours ago and nobody has reviewed it; have somebody do so (kubectl pilothouse approve breakglass/{0}), and create another one",
            name(other),
            user(glass)
        );
        Err(Refusal::new("Unreviewed", message))
    })
}

/// Whether the author has left another one behind that nobody has looked at for long.
fn is_left(glass: &BreakGlass, other: &BreakGlass, now: Timestamp) -> bool {
    let ended = other.status.as_ref().and_then(|s| {
        let at = s.ended_at.as_ref()?.0;
        (!condition_is_true(&s.conditions, "Reviewed")).then_some(at)
    });
    user(other) == user(glass)
        && other.metadata.uid != glass.metadata.uid
        && ended.is_some_and(|at| now.duration_since(at) > UNREVIEWED)
}

/// Whom it lets past a policy now, by the clock of whoever asks.
pub fn broken(glass: &BreakGlass, policy: &str, now: Timestamp) -> Option<Broken> {
    let status = glass.status.as_ref()?;
    let until = status.expires_at.clone()?;
    let named = &glass.spec.policies;
    let is_live = status.opened_at.is_some()
        && status.ended_at.is_none()
        && until.0 > now
        && !glass.spec.closed
        && glass.metadata.deletion_timestamp.is_none();
    let is_meant = named.is_empty() || named.iter().any(|name| name == policy);
    (is_live && is_meant && !user(glass).is_empty()).then(|| Broken {
        namespace: glass.metadata.namespace.clone().unwrap_or_default(),
        break_glass: name(glass).to_owned(),
        user: user(glass).to_owned(),
        until,
    })
}

/// Who asks for something in a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    pub user: &'a str,
    pub groups: &'a [String],
    pub namespace: &'a str,
}

/// The BreakGlass by which somebody passes a policy that needs one.
pub fn passes<'a>(
    policy: (&str, Option<&Glass>),
    asker: Asker<'_>,
    glasses: impl IntoIterator<Item = &'a BreakGlass>,
    now: Timestamp,
) -> Option<Broken> {
    let (name, glass) = policy;
    let glass = glass.filter(|glass| glass.record == GlassRecord::Required)?;
    if !glass
        .groups
        .iter()
        .any(|group| asker.groups.contains(group))
    {
        return None;
    }
    let mut broken = glasses
        .into_iter()
        .filter_map(|glass| broken(glass, name, now));
    broken.find(|one| one.user == asker.user && one.namespace == asker.namespace)
}

/// What whoever is refused by such a policy can do in an emergency.
pub fn way_out(glass: Option<&Glass>) -> Option<String> {
    let glass = glass.filter(|glass| glass.record == GlassRecord::Required)?;
    let groups: Vec<_> = glass.groups.iter().take(4).map(String::as_str).collect();
    Some(format!(
        "; in an emergency a member of {} breaks the glass: kubectl pilothouse break-glass",
        groups.join(" or ")
    ))
}

/// Ready once there is nothing left for anybody to do; False where it never let pass.
fn ready(glass: &BreakGlass, live: &Verdict, reviewed: &Verdict) -> Verdict {
    if live.status == "True" {
        return Verdict::unknown(
            "Ready",
            "Live",
            format!("it lets {} pass {}", user(glass), live.message),
        );
    }
    match reviewed.reason {
        "NotOpened" => Verdict::no("Ready", live.reason, &live.message),
        "AwaitingReview" => Verdict::unknown("Ready", "AwaitingReview", &reviewed.message),
        _ => Verdict::yes("Ready", "Reviewed", &reviewed.message),
    }
}

/// Who breaks the glass; nobody where that was not stamped.
fn user(glass: &BreakGlass) -> &str {
    let by = glass.spec.requested_by.as_ref();
    by.map_or("", |by| &by.user)
}

fn name(glass: &BreakGlass) -> &str {
    glass.metadata.name.as_deref().unwrap_or_default()
}
