//! What a ChangeTicket's status says.

use crds::v1alpha1::{ChangeConflict, ChangeTicketStatus, Verdict, find_condition, set_condition};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{ALREADY_OVER, Stage, Standing, is_changed};

impl Standing<'_> {
    /// The status at this stage.
    pub(super) fn told(&self, stage: &Stage) -> ChangeTicketStatus {
        let mut status = self.status.clone();
        let is_draft = matches!(stage, Stage::Draft | Stage::KeptBack(_));
        if let Ok(content) = &self.content {
            status.writers = content.authors.iter().cloned().collect();
        }
        match self.content.as_ref().ok().filter(|_| !is_draft) {
            Some(content) => {
                status.digest = Some(content.digest.clone());
                status.job_revision.clone_from(&content.revision);
                status.solution.clone_from(&content.solution);
                if status.started.is_none() || self.reviewed.is_approved() {
                    status.levels.clone_from(&self.reviewed.levels);
                }
            }
            None if status.started.is_none() => {
                (status.digest, status.job_revision) = (None, None);
                status.solution = None;
                status.levels = Vec::new();
            }
            None => {}
        }
        if *stage == Stage::Draft {
            (status.conflicts, status.risk) = (Vec::new(), None);
        } else if self.looks_for_conflicts(stage) {
            let found = self.world.conflicts.iter();
            status.conflicts = found.map(|found| found.conflict.clone()).collect();
            status.risk.clone_from(&self.world.risk.risk);
        } else if self.is_changed() {
            status.risk.clone_from(&self.world.risk.risk);
        }
        status.live = Some(self.is_live(stage));
        status.next_flip = self.next_flip(stage).map(Time);
        if let Stage::Ended(end) = stage {
            status.result.clone_from(&end.result);
            status.finished_at.get_or_insert(Time(self.now));
        }
        status.summary = Some(word(stage).to_owned());
        self.condition(&mut status, stage);
        status
    }

    /// What had started before this turn, or has ended, keeps the word of then.
    fn looks_for_conflicts(&self, stage: &Stage) -> bool {
        let before = self.ticket.status.as_ref();
        before.is_none_or(|status| status.started.is_none())
            && !matches!(stage, Stage::Draft | Stage::Ended(_))
    }

    fn is_changed(&self) -> bool {
        let content = self.content.as_ref();
        content.is_ok_and(|content| is_changed(self.ticket, content))
    }

    fn is_live(&self, stage: &Stage) -> bool {
        let window = &self.ticket.spec.window;
        let within = self.now >= window.start.0 && self.now < window.end.0;
        let is_going = matches!(
            stage,
            Stage::Startable(_) | Stage::Executing(_) | Stage::Verifying(_)
        );
        within && is_going && self.is_approved() && !self.is_whole()
    }

    fn next_flip(&self, stage: &Stage) -> Option<Timestamp> {
        let window = &self.ticket.spec.window;
        match stage {
            _ if self.is_whole() => None,
            Stage::Scheduled(_) => Some(window.start.0),
            Stage::Startable(_) => Some(self.closes()),
            _ if self.is_live(stage) => Some(window.end.0),
            _ => None,
        }
    }

    fn condition(&self, status: &mut ChangeTicketStatus, stage: &Stage) {
        let generation = self.ticket.metadata.generation;
        let mut verdicts = vec![submitted(stage), self.approved(stage), executing(stage)];
        verdicts.extend(end(stage));
        if *stage == Stage::Draft {
            status.conditions.retain(|c| c.type_ != "ConflictFree");
        } else if self.looks_for_conflicts(stage) {
            verdicts.push(conflict_free(&status.conflicts));
        }
        let ready = ready(stage);
        tell(
            &mut status.conditions,
            &verdicts,
            &ready,
            generation,
            self.now,
        );
    }

    fn approved(&self, stage: &Stage) -> Verdict {
        match stage {
            Stage::Draft => Verdict::no("Approved", "Draft", ""),
            Stage::InReview(left) => Verdict::no("Approved", "AwaitingApproval", left),
            Stage::KeptBack(why) | Stage::Rejected(why) => {
                Verdict::no("Approved", why.reason, &why.message)
            }
            _ if self.is_approved() => Verdict::yes("Approved", "Approved", ""),
            _ if self.status.started.is_some() => match &self.world.risk.refusal {
                Some(risk) => Verdict::no("Approved", risk.reason, &risk.message),
                None => Verdict::no(
                    "Approved",
                    "Changed",
                    "the ticket was changed after its start; what goes on is what was approved, and what it says now is not",
                ),
            },
            Stage::Blocked(why) => Verdict::unknown("Approved", why.reason, &why.message),
            _ => Verdict::no("Approved", "AwaitingApproval", ""),
        }
    }
}

/// One word for people.
fn word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Draft => "Draft",
        Stage::KeptBack(_) | Stage::Blocked(_) => "Blocked",
        Stage::Rejected(_) => "Rejected",
        Stage::InReview(_) => "InReview",
        Stage::Scheduled(_) | Stage::Held(_) | Stage::Due => "Scheduled",
        Stage::Startable(_) => "Startable",
        Stage::Executing(_) => "Executing",
        Stage::Cancelling => "Cancelling",
        Stage::Verifying(_) => "Verifying",
        Stage::Ended(end) if end.is_well() => "Succeeded",
        Stage::Ended(end) => match end.reason {
            reason @ ("Cancelled" | "Expired") => reason,
            ALREADY_OVER => "Expired",
            _ => "Failed",
        },
    }
}

fn submitted(stage: &Stage) -> Verdict {
    if *stage == Stage::Draft {
        return Verdict::no("Submitted", "Draft", "spec.submit is false");
    }
    if let Stage::KeptBack(why) = stage {
        return Verdict::no("Submitted", why.reason, &why.message);
    }
    Verdict::yes("Submitted", "Submitted", "")
}

fn conflict_free(conflicts: &[ChangeConflict]) -> Verdict {
    let Some(worst) = conflicts.first() else {
        return Verdict::yes("ConflictFree", "NoConflict", "");
    };
    let more = match conflicts.len() - 1 {
        0 => String::new(),
        more => format!(" ({more} more in status.conflicts)"),
    };
    let message = format!("{}{more}", worst.message);
    Verdict::no("ConflictFree", worst.reason.name(), message)
}

fn executing(stage: &Stage) -> Verdict {
    match stage {
        Stage::Executing(how) => Verdict::yes("Executing", "Started", how),
        Stage::Cancelling => Verdict::yes("Executing", "Cancelling", ""),
        Stage::Verifying(_) | Stage::Ended(_) => Verdict::no("Executing", "Ended", ""),
        _ => Verdict::no("Executing", "NotStarted", ""),
    }
}

fn end(stage: &Stage) -> Option<Verdict> {
    let Stage::Ended(end) = stage else {
        return None;
    };
    let type_ = if end.is_well() { "Complete" } else { "Failed" };
    Some(Verdict::yes(type_, end.reason, &end.message))
}

/// A wait is Unknown, and somebody's correction is False; a draft is as somebody wants it.
fn ready(stage: &Stage) -> Verdict {
    match stage {
        Stage::Draft => Verdict::yes(
            "Ready",
            "Draft",
            "it does nothing until spec.submit is true",
        ),
        Stage::KeptBack(why) | Stage::Blocked(why) | Stage::Rejected(why) => {
            Verdict::no("Ready", why.reason, &why.message)
        }
        Stage::InReview(left) => Verdict::unknown("Ready", "AwaitingApproval", left),
        Stage::Scheduled(when) => Verdict::unknown("Ready", "WaitingForWindow", when),
        Stage::Held(why) => Verdict::unknown("Ready", why.reason, &why.message),
        Stage::Due => Verdict::unknown("Ready", "Starting", ""),
        Stage::Startable(who) => Verdict::unknown("Ready", "AwaitingStart", who),
        Stage::Executing(how) => Verdict::unknown("Ready", "Executing", how),
        Stage::Cancelling => Verdict::unknown("Ready", "Cancelling", "its run is being cancelled"),
        Stage::Verifying(left) => Verdict::unknown("Ready", "AwaitingResult", left),
        // What Git has brought back is as it should be.
        Stage::Ended(end) if end.is_well() || end.reason == ALREADY_OVER => {
            Verdict::yes("Ready", end.reason, &end.message)
        }
        Stage::Ended(end) => Verdict::no("Ready", end.reason, &end.message),
    }
}

/// Sets conditions, and those of kstatus as Ready is.
pub(crate) fn tell(
    conditions: &mut Vec<Condition>,
    verdicts: &[Verdict],
    ready: &Verdict,
    generation: Option<i64>,
    now: Timestamp,
) {
    let kept = match ready.status {
        "Unknown" => Some("Reconciling"),
        "False" => Some("Stalled"),
        _ => None,
    };
    for type_ in ["Reconciling", "Stalled"] {
        conditions.retain(|c| c.type_ != type_ || kept == Some(type_));
    }
    let told = kept.map(|type_| Verdict::yes(type_, ready.reason, &ready.message));
    for verdict in verdicts.iter().chain(&told).chain([ready]) {
        set_condition(conditions, verdict, generation, now);
    }
}

/// A turn that failed says so, and changes nothing else of how the ticket stands.
pub fn failed(
    mut status: ChangeTicketStatus,
    generation: Option<i64>,
    category: &'static str,
    message: &str,
    now: Timestamp,
) -> ChangeTicketStatus {
    fail(&mut status.conditions, category, message, generation, now);
    status
}

/// Conditions after a turn that failed.
pub(crate) fn fail(
    conditions: &mut Vec<Condition>,
    category: &'static str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    for type_ in ["Reconciling", "Ready"] {
        let status_ = if type_ == "Ready" { "Unknown" } else { "True" };
        let verdict = Verdict {
            type_,
            status: status_,
            reason: category,
            message: message.to_owned(),
        };
        set_condition(conditions, &verdict, generation, now);
    }
    conditions.retain(|c| c.type_ != "Stalled");
}

/// Where a ticket has moved to, by its Ready: whether that is bad, the reason and why.
pub fn moved<'a>(
    before: Option<&ChangeTicketStatus>,
    after: &'a ChangeTicketStatus,
) -> Option<(bool, &'a str, &'a str)> {
    moved_to(
        before.map(|status| &status.conditions[..]),
        &after.conditions,
    )
}

/// The same by conditions.
pub(crate) fn moved_to<'a>(
    before: Option<&[Condition]>,
    after: &'a [Condition],
) -> Option<(bool, &'a str, &'a str)> {
    let now = find_condition(after, "Ready")?;
    let before = before.and_then(|before| find_condition(before, "Ready"));
    let moved = before.is_none_or(|before| before.reason != now.reason);
    moved.then_some((now.status == "False", &now.reason, &now.message))
}
