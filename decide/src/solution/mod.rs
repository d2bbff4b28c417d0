//! What becomes of a ChangeSolution: how far its review is, whether tickets may use it as it is, and what became of those that were started with it.

mod results;

pub use results::{knows, owing};

use crds::v1alpha1::{
    Approval, ChangeSolution, ChangeSolutionStatus, ChangeTicket, PlannedSolution, SolutionUsed,
    Verdict,
};
use jiff::Timestamp;

use crate::{
    Refusal,
    change::{self, Content, JobSeen, Pending, Reviewed, SolutionSeen},
};

/// What there is besides the solution.
#[derive(Debug)]
pub struct World<'a> {
    /// Its Job, none for a guide; or why that cannot be run.
    pub job: Result<Option<JobSeen>, Refusal>,
    /// Why a run of it would be refused.
    pub barred: Option<Refusal>,
    pub approvals: &'a [Approval],
    /// Tickets of the namespace that have ended, and do not know yet that a solution knows.
    pub ended: &'a [ChangeTicket],
}

/// A status, and when it may be another without anybody's word.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub status: ChangeSolutionStatus,
    pub again: Option<Timestamp>,
}

/// Where a solution stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Draft,
    Pending(Pending),
    Approved,
}

/// What a solution's status says.
pub fn status(solution: &ChangeSolution, world: &World<'_>, now: Timestamp) -> Told {
    let job = world.job.as_ref();
    let content = job.map(|job| Content::of_solution(solution, job.as_ref()));
    let of = |content| Reviewed::of(solution, content, world.approvals, now);
    let reviewed = content.as_ref().map(of).unwrap_or_default();
    let barred = world.barred.as_ref();
    let stage = stage(
        solution,
        content.as_ref().map_err(|e| *e),
        barred,
        &reviewed,
    );
    let mut status = solution.status.clone().unwrap_or_default();
    status.observed_generation = solution.metadata.generation;
    if let Ok(content) = &content {
        status.writers = content.authors.iter().cloned().collect();
    }
    let handed_in = content.ok().filter(|_| stage != Stage::Draft);
    status.levels = match &handed_in {
        Some(_) => reviewed.levels,
        None => Vec::new(),
    };
    status.digest = handed_in.map(|content| content.digest);
    status.summary = Some(stage.word().to_owned());
    results::take_in(&mut status, solution, world.ended);
    let verdicts = [stage.submitted(), stage.approved()];
    let generation = solution.metadata.generation;
    change::tell(
        &mut status.conditions,
        &verdicts,
        &stage.ready(),
        generation,
        now,
    );
    Told {
        status,
        again: reviewed.expires.filter(|at| *at > now),
    }
}

/// A solution as a ticket uses it, where others have agreed to it as it is, and it leaves open what the ticket gives.
pub fn usable(
    solution: &ChangeSolution,
    job: Option<&JobSeen>,
    approvals: &[Approval],
    planned: &PlannedSolution,
    now: Timestamp,
) -> Result<SolutionSeen, Refusal> {
    let name = &planned.name;
    let content = Content::of_solution(solution, job);
    let reviewed = Reviewed::of(solution, &content, approvals, now);
    let stage = stage(solution, Ok(&content), None, &reviewed);
    if stage != Stage::Approved {
        let message = format!(
            "ChangeSolution {name} is no solution that others have agreed to as it is ({}): {}",
            stage.word(),
            stage.ready().message
        );
        return Err(Refusal::new("SolutionNotApproved", message));
    }
    let open = &solution.spec.open_parameters;
    if let Some(closed) = planned.parameters.keys().find(|key| !open.contains(key)) {
        let message = format!(
            "spec.plan.solution.parameters: ChangeSolution {name} leaves {closed} to no ticket; give only these: {}",
            open.join(", ")
        );
        return Err(Refusal::new("ParameterNotOpen", message));
    }
    let mut job = solution.spec.plan.job.clone();
    if let Some(job) = &mut job {
        job.parameters.extend(planned.parameters.clone());
    }
    Ok(SolutionSeen {
        used: SolutionUsed {
            name: name.clone(),
            uid: solution.metadata.uid.clone().unwrap_or_default(),
            digest: content.digest,
            told: false,
        },
        job,
        requested_by: solution.spec.requested_by.clone().unwrap_or_default(),
        writers: content.writers,
    })
}

fn stage(
    solution: &ChangeSolution,
    content: Result<&Content, &Refusal>,
    barred: Option<&Refusal>,
    reviewed: &Reviewed,
) -> Stage {
    if !solution.spec.submit {
        return Stage::Draft;
    }
    match change::pending(solution, content, barred, reviewed) {
        Ok(()) => Stage::Approved,
        Err(pending) => Stage::Pending(pending),
    }
}

impl Stage {
    /// One word for people.
    const fn word(&self) -> &'static str {
        match self {
            Self::Draft => "Draft",
            Self::Pending(Pending::Blocked(_)) => "Blocked",
            Self::Pending(Pending::Rejected(_)) => "Rejected",
            Self::Pending(Pending::InReview(_)) => "InReview",
            Self::Approved => "Approved",
        }
    }

    fn submitted(&self) -> Verdict {
        match self {
            Self::Draft => Verdict::no("Submitted", "Draft", "spec.submit is false"),
            _ => Verdict::yes("Submitted", "Submitted", ""),
        }
    }

    fn approved(&self) -> Verdict {
        match self {
            Self::Draft => Verdict::no("Approved", "Draft", ""),
            Self::Pending(Pending::InReview(left)) => {
                Verdict::no("Approved", "AwaitingApproval", left)
            }
            Self::Pending(Pending::Rejected(why)) => {
                Verdict::no("Approved", why.reason, &why.message)
            }
            Self::Pending(Pending::Blocked(why)) => {
                Verdict::unknown("Approved", why.reason, &why.message)
            }
            Self::Approved => Verdict::yes("Approved", "Approved", ""),
        }
    }

    /// A wait is Unknown, and somebody's correction is False; a draft is as somebody wants it.
    fn ready(&self) -> Verdict {
        match self {
            Self::Draft => Verdict::yes(
                "Ready",
                "Draft",
                "no ticket can use it until spec.submit is true",
            ),
            Self::Pending(Pending::InReview(left)) => {
                Verdict::unknown("Ready", "AwaitingApproval", left)
            }
            Self::Pending(Pending::Blocked(why) | Pending::Rejected(why)) => {
                Verdict::no("Ready", why.reason, &why.message)
            }
            Self::Approved => Verdict::yes("Ready", "Approved", "tickets can use it"),
        }
    }
}

/// A turn that failed says so, and changes nothing else.
pub fn failed(
    solution: &ChangeSolution,
    category: &'static str,
    message: &str,
    now: Timestamp,
) -> ChangeSolutionStatus {
    let mut status = solution.status.clone().unwrap_or_default();
    let generation = solution.metadata.generation;
    change::fail(&mut status.conditions, category, message, generation, now);
    status
}

/// Where a solution has moved to, by its Ready: whether that is bad, the reason and why.
pub fn moved<'a>(
    before: Option<&ChangeSolutionStatus>,
    after: &'a ChangeSolutionStatus,
) -> Option<(bool, &'a str, &'a str)> {
    change::moved_to(
        before.map(|status| &status.conditions[..]),
        &after.conditions,
    )
}

#[cfg(test)]
mod tests;
