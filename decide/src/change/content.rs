//! What is decided on: everything that a ticket or a solution says, and everything that its Job does.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    ChangeJob, ChangeSolution, ChangeSolutionSpec, ChangeTicket, ChangeTicketSpec, Requester,
    SolutionUsed,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Writers of a ticket or a solution that are remembered.
const REMEMBERED: usize = 20;

/// The Job of a plan, as it is with all that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobSeen {
    pub revision: String,
    /// Who wrote it, and what it names, last.
    pub writers: BTreeSet<String>,
}

/// The solution of a ticket, to which others have agreed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SolutionSeen {
    pub used: SolutionUsed,
    /// Its Job with the values that the ticket gives; none of a guide.
    pub job: Option<ChangeJob>,
    /// Who wrote it last.
    pub requested_by: Requester,
    /// Who wrote it as it is, and what its Job does.
    pub writers: BTreeSet<String>,
}

/// One content of a ticket or a solution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub digest: String,
    pub revision: Option<String>,
    /// What a ticket uses.
    pub solution: Option<SolutionUsed>,
    /// Who wrote it as it is.
    pub authors: BTreeSet<String>,
    /// They, and who wrote what its Job does and the solution that it uses.
    pub writers: BTreeSet<String>,
}

impl Content {
    /// What the ticket says now. What was started is what it was then, whatever is made of its Job and its solution meanwhile.
    pub fn of(
        ticket: &ChangeTicket,
        job: Option<&JobSeen>,
        solution: Option<&SolutionSeen>,
    ) -> Self {
        let status = ticket.status.as_ref();
        let begun = status.filter(|s| s.started.is_some());
        let kept = begun.and_then(|s| s.job_revision.clone());
        let revision = kept.or_else(|| job.map(|job| job.revision.clone()));
        let used = match begun {
            Some(begun) => begun.solution.clone(),
            None => solution.map(|solution| solution.used.clone()),
        };
        Self::at(ticket, (revision, used), job, solution)
    }

    /// The content of a part: whoever wrote the whole has written it.
    pub(super) fn written_by(mut self, whole: &Self) -> Self {
        let authors = whole.authors.iter().chain(&self.authors);
        self.authors = authors.take(REMEMBERED).cloned().collect();
        self.writers.extend(whole.writers.iter().cloned());
        self
    }

    /// What a ticket says now, with its Job as it was at a revision and its solution as it was used.
    pub(super) fn at(
        ticket: &ChangeTicket,
        (revision, used): (Option<String>, Option<SolutionUsed>),
        job: Option<&JobSeen>,
        solution: Option<&SolutionSeen>,
    ) -> Self {
        let status = ticket.status.as_ref();
        let digest = of_ticket(ticket, revision.as_deref(), used.as_ref());
        let told = status.map(|s| (s.digest.as_deref(), &s.writers[..]));
        let authors = authors(ticket.spec.requested_by.as_ref(), told, &digest);
        let of_job = job.into_iter().flat_map(|job| &job.writers);
        let of_solution = solution.into_iter().flat_map(|solution| &solution.writers);
        let others = of_job.chain(of_solution);
        Self {
            digest,
            revision,
            solution: used,
            writers: authors.iter().chain(others).cloned().collect(),
            authors,
        }
    }

    /// What the solution says now.
    pub fn of_solution(solution: &ChangeSolution, job: Option<&JobSeen>) -> Self {
        let revision = job.map(|job| job.revision.clone());
        let said = ChangeSolutionSpec {
            submit: false,
            requested_by: None,
            ..solution.spec.clone()
        };
        let held = json!({"solution": solution.metadata.uid, "says": said, "job": revision});
        let digest = hashed(&held);
        let status = solution.status.as_ref();
        let told = status.map(|s| (s.digest.as_deref(), &s.writers[..]));
        let authors = authors(solution.spec.requested_by.as_ref(), told, &digest);
        let of_job = job.into_iter().flat_map(|job| &job.writers);
        Self {
            digest,
            revision,
            solution: None,
            writers: authors.iter().chain(of_job).cloned().collect(),
            authors,
        }
    }
}

/// Whoever wrote it last, and those who are known to have written the same. A draft has no digest: whoever was seen at it has written it.
fn authors(
    last: Option<&Requester>,
    told: Option<(Option<&str>, &[String])>,
    digest: &str,
) -> BTreeSet<String> {
    let known = told.filter(|(told, _)| told.is_none_or(|told| told == digest));
    let known = known.into_iter().flat_map(|(_, writers)| writers);
    let last = last.map(|by| &by.user).into_iter();
    last.chain(known).take(REMEMBERED).cloned().collect()
}

/// One that was deleted and made anew under its name is another ticket, on which nobody has decided yet.
fn of_ticket(ticket: &ChangeTicket, revision: Option<&str>, used: Option<&SolutionUsed>) -> String {
    let said = ChangeTicketSpec {
        submit: false,
        requested_by: None,
        ..ticket.spec.clone()
    };
    let mut held = json!({"ticket": ticket.metadata.uid, "says": said, "job": revision});
    if let Some(used) = used {
        held["solution"] = json!(used.digest);
    }
    hashed(&held)
}

fn hashed(held: &Value) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(held.to_string())))
}
