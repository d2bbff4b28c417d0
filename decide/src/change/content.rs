//! What is decided on: everything that a ticket says, and everything that its Job does.

use std::collections::BTreeSet;

use crds::v1alpha1::{ChangeTicket, ChangeTicketSpec};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Writers of a ticket that are remembered.
const REMEMBERED: usize = 20;

/// The Job of a ticket, as it is with all that it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobSeen {
    pub revision: String,
    /// Who wrote it, and what it names, last.
    pub writers: BTreeSet<String>,
}

/// One content of a ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub digest: String,
    pub revision: Option<String>,
    /// Who wrote the ticket as it is.
    pub authors: BTreeSet<String>,
    /// They, and who wrote what its Job does.
    pub writers: BTreeSet<String>,
}

impl Content {
    /// What the ticket says now. What was started is what it was then, whatever is made of its Job meanwhile.
    pub fn of(ticket: &ChangeTicket, job: Option<&JobSeen>) -> Self {
        let status = ticket.status.as_ref();
        let begun = status.filter(|s| s.started.is_some());
        let kept = begun.and_then(|s| s.job_revision.clone());
        let revision = kept.or_else(|| job.map(|job| job.revision.clone()));
        Self::at(ticket, revision, job)
    }

    /// The content of a part: whoever wrote the whole has written it.
    pub(super) fn written_by(mut self, whole: &Self) -> Self {
        let authors = whole.authors.iter().chain(&self.authors);
        self.authors = authors.take(REMEMBERED).cloned().collect();
        self.writers.extend(whole.writers.iter().cloned());
        self
    }

    /// What a ticket says now, with its Job as it was at a revision.
    pub(super) fn at(
        ticket: &ChangeTicket,
        revision: Option<String>,
        job: Option<&JobSeen>,
    ) -> Self {
        let status = ticket.status.as_ref();
        let digest = digest(ticket, revision.as_deref());
        // A draft has no digest: whoever was seen at it has written it.
        let same = |told: &String| *told == digest;
        let known = status.filter(|s| s.digest.as_ref().is_none_or(same));
        let known = known.into_iter().flat_map(|s| s.writers.iter().cloned());
        let last = ticket.spec.requested_by.iter().map(|by| by.user.clone());
        let authors: BTreeSet<_> = last.chain(known).take(REMEMBERED).collect();
        let of_job = job.into_iter().flat_map(|job| job.writers.iter().cloned());
        Self {
            digest,
            revision,
            writers: authors.iter().cloned().chain(of_job).collect(),
            authors,
        }
    }
}

/// One that was deleted and made anew under its name is another ticket, on which nobody has decided yet.
fn digest(ticket: &ChangeTicket, revision: Option<&str>) -> String {
    let said = ChangeTicketSpec {
        submit: false,
        requested_by: None,
        ..ticket.spec.clone()
    };
    let held = json!({"ticket": ticket.metadata.uid, "says": said, "job": revision});
    format!("sha256:{}", hex::encode(Sha256::digest(held.to_string())))
}
