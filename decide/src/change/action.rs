//! Answers ChangeActions: each is taken in by the turn that finds it, or refused with what keeps it out.

use crds::v1alpha1::{
    ChangeAction, ChangeActionStatus, ChangeActionTaken, ChangeTicket, ChangeTicketStatus,
    ChangeVerb, Requester, Verdict, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Stage, Standing, review};
use crate::Refusal;

impl Standing<'_> {
    pub(super) fn answer(&mut self, action: &ChangeAction) -> Result<(), Refusal> {
        if has_taken(&self.status, action) {
            return Ok(());
        }
        let by = action.spec.requested_by.clone().unwrap_or_default();
        self.allows(action.spec.action, &by)?;
        match action.spec.action {
            ChangeVerb::Start => self.start(&by.user),
            ChangeVerb::Complete => self.status.result.clone_from(&action.spec.result),
            ChangeVerb::Cancel => {}
        }
        let created = action.metadata.creation_timestamp.as_ref();
        self.status.actions.push(ChangeActionTaken {
            uid: action.metadata.uid.clone().unwrap_or_default(),
            action: action.spec.action,
            by: by.user,
            at: created.map_or(Time(self.now), Clone::clone),
            reason: action.spec.reason.clone(),
        });
        Ok(())
    }

    fn allows(&self, verb: ChangeVerb, by: &Requester) -> Result<(), Refusal> {
        let stage = self.stage();
        if let Stage::Ended(_) = stage {
            return Err(ended(self.ticket));
        }
        if self.is_whole() && verb != ChangeVerb::Cancel {
            return Err(self.is_done_by_part());
        }
        match verb {
            ChangeVerb::Start => {
                startable(stage)?;
                self.carries_out(by)
            }
            ChangeVerb::Complete => {
                self.completable(&stage)?;
                self.carries_out(by)
            }
            ChangeVerb::Cancel => cancellable(&stage),
        }
    }

    fn is_done_by_part(&self) -> Refusal {
        let parts = self.status.regions.iter();
        let parts: Vec<_> = parts.map(|region| region.ticket.as_str()).collect();
        let message = format!(
            "each region is started and closed by itself, as one of these: {}",
            parts.join(", ")
        );
        Refusal::new("HasRegions", message)
    }

    fn completable(&self, stage: &Stage) -> Result<(), Refusal> {
        let started = self.status.started.as_ref();
        let is_guide = started.is_some_and(|started| started.run.is_none());
        match stage {
            Stage::Verifying(_) | Stage::Executing(_)
                if !self.is_approved() && started.is_some() =>
            {
                Err(Refusal::new(
                    "Changed",
                    "the ticket was changed after its start; have it approved anew, or change it back",
                ))
            }
            Stage::Verifying(_) => Ok(()),
            Stage::Executing(_) if is_guide => Ok(()),
            Stage::Executing(_) | Stage::Cancelling => Err(Refusal::new(
                "RunGoesOn",
                "its run has not ended; wait for its end, or cancel it, and say then how the change went",
            )),
            _ => Err(Refusal::new("NotStarted", "nothing was started yet")),
        }
    }

    /// Requester, reviewer and implementer are three people.
    fn carries_out(&self, by: &Requester) -> Result<(), Refusal> {
        let user = &by.user;
        if !review::is_implementer(self.ticket, by) {
            let message = format!("{user} is not among spec.implementers; have one of them do it");
            return Err(Refusal::new("NotImplementer", message));
        }
        let authors = self.content.as_ref().ok().map(|content| &content.authors);
        if authors.is_some_and(|authors| authors.contains(user)) {
            let message = format!("{user} wrote the ticket; another implementer has to do it");
            return Err(Refusal::new("OwnTicket", message));
        }
        let now = self.reviewed.levels.iter();
        let mut levels = now.chain(&self.status.levels);
        if levels.any(|level| level.by.contains(user)) {
            let message = format!("{user} has agreed to it; an implementer who has not does it");
            return Err(Refusal::new("HasReviewed", message));
        }
        Ok(())
    }
}

/// The answer of a ticket that had ended by then.
pub(super) fn when_ended(
    ticket: &ChangeTicket,
    status: &ChangeTicketStatus,
    action: &ChangeAction,
) -> Result<(), Refusal> {
    if has_taken(status, action) {
        return Ok(());
    }
    Err(ended(ticket))
}

/// Whether a turn took it in, which may not have got to say so.
fn has_taken(status: &ChangeTicketStatus, action: &ChangeAction) -> bool {
    let uid = action.metadata.uid.as_deref().unwrap_or_default();
    status.actions.iter().any(|taken| taken.uid == uid)
}

fn ended(ticket: &ChangeTicket) -> Refusal {
    let name = ticket.metadata.name.as_deref().unwrap_or_default();
    Refusal::new(
        "TicketEnded",
        format!("ChangeTicket {name} had ended before"),
    )
}

fn startable(stage: Stage) -> Result<(), Refusal> {
    match stage {
        Stage::Startable(_) => Ok(()),
        Stage::Draft => Err(Refusal::new(
            "NotSubmitted",
            "it is a draft; set spec.submit",
        )),
        Stage::InReview(left) => Err(Refusal::new("NotApproved", left)),
        Stage::Scheduled(when) => Err(Refusal::new("WindowNotOpen", when)),
        Stage::KeptBack(why) | Stage::Blocked(why) | Stage::Rejected(why) | Stage::Held(why) => {
            Err(why)
        }
        Stage::Due => Err(Refusal::new(
            "StartsByItself",
            "spec.start is AtWindow, and it starts now by itself",
        )),
        _ => Err(Refusal::new("AlreadyStarted", "it was started before")),
    }
}

fn cancellable(stage: &Stage) -> Result<(), Refusal> {
    match stage {
        Stage::Cancelling => Err(Refusal::new("AlreadyCancelled", "it is being cancelled")),
        Stage::Verifying(left) => Err(Refusal::new("NothingToCancel", left.clone())),
        _ => Ok(()),
    }
}

/// What a ChangeAction's status says once it is answered; none is answered twice.
pub fn answered(
    action: &ChangeAction,
    answer: &Result<(), Refusal>,
    now: Timestamp,
) -> ChangeActionStatus {
    let generation = action.metadata.generation;
    let mut status = ChangeActionStatus {
        observed_generation: generation,
        ..action.status.clone().unwrap_or_default()
    };
    let mut set =
        |verdict: &Verdict| set_condition(&mut status.conditions, verdict, generation, now);
    match answer {
        Ok(()) => set(&Verdict::yes("Applied", "TakenIn", "")),
        Err(refusal) => {
            set(&Verdict::no("Applied", refusal.reason, &refusal.message));
            // kstatus knows nothing of Applied, and would take the action for one that is as it should be.
            set(&Verdict::yes("Stalled", refusal.reason, &refusal.message));
        }
    }
    status
}
