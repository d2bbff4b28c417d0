//! What becomes of a ChangeTicket now: how far its review is, whether it starts, what the end of its window does, and how it ends. What is to have an effect is in the status before.

mod action;
mod age;
pub mod conflict;
mod content;
mod permit;
pub mod region;
mod review;
pub mod risk;
mod stage;
mod status;

pub use action::answered;
pub use age::{ALREADY_OVER, closes, expires, is_already_over};
pub use content::{Content, JobSeen, SolutionSeen};
pub use permit::{Deed, Permit, covering, is_live, of_run, others, own_ticket};
pub use review::{Pending, Reviewed, Reviewing, counts, pending};
pub(crate) use status::{fail, moved_to, tell};
pub use status::{failed, moved};

use crds::v1alpha1::{
    Approval, Asked, ChangeAction, ChangeJob, ChangeStarted, ChangeTicket, ChangeTicketStatus,
    ChangeVerb, JobRun, OnClose, OnConflict,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{Refusal, schedule::Gate};
use region::ForPart;
use stage::Stage;

/// What there is besides the ticket.
#[derive(Debug)]
pub struct World<'a> {
    /// Its Job, none for a guide; or why it cannot be run, or its solution cannot be used.
    pub job: Result<Option<JobSeen>, Refusal>,
    /// Its solution, where that can be used.
    pub solution: Option<&'a SolutionSeen>,
    /// Whether its solution knows how it ended, or is gone.
    pub told: bool,
    /// Why its run would be refused.
    pub barred: Option<Refusal>,
    pub approvals: &'a [Approval],
    pub calendars: &'a Gate,
    /// What it conflicts with, and what is done with that.
    pub conflicts: &'a [conflict::Found],
    pub on_conflict: OnConflict,
    /// How risky it is, and whether that keeps it back.
    pub risk: &'a risk::Weighed,
    /// The run of this ticket, if there is one.
    pub run: Option<&'a JobRun>,
    /// Actions that nobody has answered yet, in their order.
    pub actions: &'a [ChangeAction],
    /// The ticket that this is a part of, whose approvals these are then; none where that is gone, and of one that is no part.
    pub whole: Option<&'a ChangeTicket>,
    /// What there is by the names of its parts.
    pub parts: &'a [ChangeTicket],
}

/// Something that is done to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Creates it.
    Create,
    /// Suspends it, since the window closes.
    Suspend,
    /// Cancels it, since the window closes.
    Abort,
    /// Cancels it, since somebody has cancelled the ticket.
    Cancel,
}

/// One turn of a ticket.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// What is done, once the status of before is written.
    pub effect: Option<Effect>,
    /// What is done to the parts of a ticket by region.
    pub for_parts: Vec<ForPart>,
    /// An answer to each action.
    pub answers: Vec<Result<(), Refusal>>,
    /// As it is once that is done.
    pub status: ChangeTicketStatus,
    pub again: Option<Timestamp>,
}

/// Decides a turn.
pub fn turn(ticket: &ChangeTicket, world: &World<'_>, now: Timestamp) -> Turn {
    if let Some(status) = ticket.status.as_ref().filter(|_| ticket.is_finished()) {
        return after_the_end(ticket, status, world);
    }
    let mut standing = Standing::new(ticket, world, now);
    let answers = world.actions.iter().map(|a| standing.answer(a)).collect();
    let mut stage = standing.stage();
    if stage == Stage::Due {
        standing.start("");
        stage = standing.stage();
    }
    let effect = standing.effect(&stage);
    let for_parts = standing.for_parts(&stage);
    Turn {
        again: standing.again(&stage, effect.is_some() || !for_parts.is_empty()),
        for_parts,
        status: standing.told(&stage),
        effect,
        answers,
    }
}

/// An end is an end, whatever is made of the ticket and its run later.
fn after_the_end(ticket: &ChangeTicket, status: &ChangeTicketStatus, world: &World<'_>) -> Turn {
    let answer = |action: &ChangeAction| action::when_ended(ticket, status, action);
    let mut solution = status.solution.clone();
    if let Some(solution) = &mut solution {
        solution.told |= world.told;
    }
    Turn {
        effect: None,
        for_parts: Vec::new(),
        answers: world.actions.iter().map(answer).collect(),
        status: ChangeTicketStatus {
            observed_generation: ticket.metadata.generation,
            solution,
            ..status.clone()
        },
        again: None,
    }
}

/// The Job that a ticket runs: its own, or its solution's.
pub fn planned<'a>(
    ticket: &'a ChangeTicket,
    solution: Option<&'a SolutionSeen>,
) -> Option<&'a ChangeJob> {
    let of_solution = solution.and_then(|solution| solution.job.as_ref());
    ticket.spec.plan.job.as_ref().or(of_solution)
}

/// Name of a ticket's run: the same whoever creates it, and another for a ticket of the same name that was created anew.
pub fn run_name(ticket: &str, uid: &str) -> String {
    let name = ticket[..ticket.len().min(54)].trim_end_matches(['-', '.']);
    let uid = uid.chars().filter(char::is_ascii_hexdigit).take(8);
    format!("{name}-{}", uid.collect::<String>())
}

/// Whether a ticket says something else than what was started, and nobody has seen yet whether that is agreed to.
pub fn is_changed(ticket: &ChangeTicket, content: &Content) -> bool {
    let status = ticket.status.as_ref();
    let started = status.and_then(|status| status.started.as_ref());
    started.is_some_and(|started| started.digest != content.digest)
}

/// Whether a run is this ticket's, as the operator alone can say.
pub fn is_own(run: &JobRun, ticket: &ChangeTicket) -> bool {
    let origin = run.spec.on_behalf_of.first();
    origin.is_some_and(|of| Some(&of.uid) == ticket.metadata.uid.as_ref())
}

/// A ticket as it stands in the middle of a turn.
struct Standing<'a> {
    ticket: &'a ChangeTicket,
    world: &'a World<'a>,
    now: Timestamp,
    content: Result<Content, Refusal>,
    reviewed: Reviewed,
    status: ChangeTicketStatus,
}

impl<'a> Standing<'a> {
    fn new(ticket: &'a ChangeTicket, world: &'a World<'a>, now: Timestamp) -> Self {
        let mut status = ticket.status.clone().unwrap_or_default();
        status.observed_generation = ticket.metadata.generation;
        let job = match &world.job {
            Ok(job) => Ok(job.as_ref()),
            // What was started goes on whatever becomes of its Job.
            Err(_) if status.started.is_some() => Ok(None),
            Err(refusal) => Err(refusal.clone()),
        };
        let judged = job.and_then(|job| judged(ticket, world, job, now));
        let (content, reviewed) = match judged {
            Ok((content, reviewed)) => (Ok(content), reviewed),
            Err(refusal) => (Err(refusal), Reviewed::default()),
        };
        status.regions = region::regions(ticket, world.parts, now);
        let mut standing = Self {
            ticket,
            world,
            now,
            content,
            reviewed,
            status,
        };
        if let Some(run) = world.run {
            standing.status.run.clone_from(&run.metadata.name);
        }
        standing.approve_anew();
        standing.follow();
        standing
    }

    /// The ticket that people decide on: the whole of a part.
    fn decided_on(&self) -> &'a ChangeTicket {
        self.world.whole.unwrap_or(self.ticket)
    }

    /// Whether it is made by region, each of them by a ticket of its own.
    fn is_whole(&self) -> bool {
        !self.status.regions.is_empty()
    }

    /// A change that was made after the start holds once it is approved, too, by as many as its risk asks for.
    fn approve_anew(&mut self) {
        let risk = self.world.risk.refusal.as_ref();
        let approved = self.reviewed.is_approved() && risk.is_none();
        let closes = self.closes();
        let (Some(started), Ok(content)) = (&mut self.status.started, &self.content) else {
            return;
        };
        if approved && started.digest != content.digest {
            started.digest.clone_from(&content.digest);
            started.closes = Time(closes);
            started.on_close = self.ticket.spec.window.on_close;
            started.level = self.ticket.spec.level;
        }
    }

    /// When the window closes: nothing is started from then on.
    fn closes(&self) -> Timestamp {
        closes(&self.ticket.spec)
    }

    fn is_approved(&self) -> bool {
        let Ok(content) = &self.content else {
            return false;
        };
        match &self.status.started {
            Some(started) => started.digest == content.digest,
            None => self.reviewed.is_approved(),
        }
    }

    fn has_taken(&self, verb: ChangeVerb) -> bool {
        self.status.actions.iter().any(|taken| taken.action == verb)
    }

    /// Has it started by now. The run is created in the turn after that, when this is written.
    fn start(&mut self, by: &str) {
        let Ok(content) = &self.content else {
            return;
        };
        let uid = self.ticket.metadata.uid.as_deref().unwrap_or_default();
        let run = self.planned().map(|_| run_name(self.name(), uid));
        self.status.job_revision.clone_from(&content.revision);
        self.status.solution.clone_from(&content.solution);
        self.status.started = Some(ChangeStarted {
            at: Time(self.now),
            by: by.to_owned(),
            digest: content.digest.clone(),
            closes: Time(self.closes()),
            on_close: self.ticket.spec.window.on_close,
            level: self.ticket.spec.level,
            run,
        });
    }

    fn planned(&self) -> Option<&ChangeJob> {
        planned(self.ticket, self.world.solution)
    }

    /// Whether the solution that it was started with can still be used as it was then.
    fn is_same_solution(&self) -> bool {
        let kept = self.status.solution.as_ref().map(|used| &used.digest);
        kept == self.world.solution.map(|solution| &solution.used.digest)
    }

    /// What is done now, which the status tells of from this turn on. It goes by what was started, whatever the ticket says by now.
    fn effect(&mut self, stage: &Stage) -> Option<Effect> {
        let before = self.ticket.status.as_ref()?;
        let (was_started, started) = (before.started.as_ref()?, self.status.started.as_ref()?);
        let name = was_started.run.as_ref()?;
        match (stage, self.world.run) {
            (Stage::Executing(_), None) if self.status.run.is_none() => {
                // What was changed in between is not what was agreed to.
                let content = self.content.as_ref().ok()?;
                let same = content.digest == was_started.digest && self.is_same_solution();
                self.status.run = same.then(|| name.clone());
                same.then_some(Effect::Create)
            }
            (Stage::Cancelling, Some(run)) => {
                let mut taken = before.actions.iter();
                let is_written = taken.any(|taken| taken.action == ChangeVerb::Cancel);
                let asked = run.status.as_ref().and_then(|s| s.asked);
                (is_written && asked != Some(Asked::Cancel)).then_some(Effect::Cancel)
            }
            (Stage::Executing(_), Some(_))
                if self.now >= started.closes.0 && self.status.closed_at.is_none() =>
            {
                let effect = match started.on_close {
                    OnClose::Finish => return None,
                    OnClose::Pause => Effect::Suspend,
                    OnClose::Abort => Effect::Abort,
                };
                self.status.closed_at = Some(Time(self.now));
                Some(effect)
            }
            _ => None,
        }
    }

    /// When there may be something to do without anybody's word.
    fn again(&self, stage: &Stage, acts: bool) -> Option<Timestamp> {
        if matches!(stage, Stage::Ended(_) | Stage::Draft) {
            return None;
        }
        let written = self.ticket.status.as_ref();
        let begun = self.status.started.is_some();
        let unwritten = written.map(|s| (&s.started, &s.actions))
            != Some((&self.status.started, &self.status.actions));
        if begun && unwritten || acts {
            return Some(self.now);
        }
        let window = &self.ticket.spec.window;
        let opens = self.world.calendars.closed(self.now);
        let times = [
            Some(window.start.0),
            Some(self.closes()),
            Some(window.end.0),
            self.status.started.as_ref().map(|s| s.closes.0),
            opens.and_then(|(_, opens)| opens).filter(|_| !begun),
            self.reviewed.expires.filter(|_| !begun),
        ];
        times
            .into_iter()
            .flatten()
            .filter(|at| *at > self.now)
            .min()
    }
}

/// What is decided on, and how far that is. A part is reviewed with its whole.
fn judged(
    ticket: &ChangeTicket,
    world: &World<'_>,
    job: Option<&JobSeen>,
    now: Timestamp,
) -> Result<(Content, Reviewed), Refusal> {
    let own = Content::of(ticket, job, world.solution);
    let Some(of) = &ticket.spec.part_of else {
        let reviewed = Reviewed::of(ticket, &own, world.approvals, now);
        return Ok((own, reviewed));
    };
    let (whole, agreed) = region::agreed(ticket, of, world, &own, job)?;
    let reviewed = Reviewed::of(whole, &agreed, world.approvals, now);
    Ok((own.written_by(&agreed), reviewed))
}

#[cfg(test)]
mod tests;
