//! A ticket by region, as it follows its parts: which are made, which are made to follow, and how they end together.

use crds::v1alpha1::{
    ChangeActionTaken, ChangeOutcome, ChangePartOf, ChangeResult, ChangeTicket, ChangeTicketSpec,
    ChangeVerb, RegionStatus, Verified, clip,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{TRACKED, is_of, is_part, is_whole, part, part_name};
use crate::{
    Refusal,
    change::{
        Content, Standing,
        stage::{End, Stage},
    },
};

/// Something that is done to a part, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForPart {
    /// Creates it.
    Create(String, Box<ChangeTicketSpec>),
    /// Has it say what is agreed to by now.
    Write(String, Box<ChangeTicketSpec>),
}

/// How far the parts of a ticket are.
pub fn regions(ticket: &ChangeTicket, parts: &[ChangeTicket], now: Timestamp) -> Vec<RegionStatus> {
    if !is_whole(ticket) {
        return Vec::new();
    }
    let before: Vec<_> = ticket.status.iter().flat_map(|s| &s.regions).collect();
    let planned: Vec<_> = ticket.spec.regions.iter().map(|r| &r.name).collect();
    // What was started and is in the plan no more goes on all the same.
    let left = before.iter().filter(|r| r.started_at.is_some());
    let left = left.map(|r| &r.name).filter(|name| !planned.contains(name));
    let all = planned.iter().copied().chain(left).take(TRACKED);
    all.map(|name| {
        let before = before.iter().find(|region| region.name == *name).copied();
        followed(ticket, name, before, parts, now)
    })
    .collect()
}

/// How far the part of a region is. An end is an end; one that is not there any more is not made again, since it may have been started unseen.
fn followed(
    whole: &ChangeTicket,
    region: &str,
    before: Option<&RegionStatus>,
    parts: &[ChangeTicket],
    now: Timestamp,
) -> RegionStatus {
    if let Some(ended) = before.filter(|before| before.finished_at.is_some()) {
        return ended.clone();
    }
    let name = part_name(whole, region);
    let known = before.and_then(|before| before.uid.as_ref());
    let is = |part: &&ChangeTicket| {
        let is_own = match known {
            Some(uid) => part.metadata.uid.as_ref() == Some(uid),
            None => is_part(part, whole, region),
        };
        is_own && part.metadata.name.as_ref() == Some(&name)
    };
    let Some(there) = parts.iter().find(is) else {
        return match before.filter(|_| known.is_some()) {
            Some(before) => RegionStatus {
                summary: Some("Deleted".to_owned()),
                finished_at: Some(Time(now)),
                ..before.clone()
            },
            None => RegionStatus {
                name: region.to_owned(),
                ticket: name,
                ..RegionStatus::default()
            },
        };
    };
    let status = there.status.clone().unwrap_or_default();
    let ended = there.is_finished();
    RegionStatus {
        name: region.to_owned(),
        ticket: name,
        uid: there.metadata.uid.clone(),
        summary: status.summary,
        started_at: status.started.map(|started| started.at),
        finished_at: ended.then(|| status.finished_at.unwrap_or(Time(now))),
        result: status.result,
    }
}

impl Standing<'_> {
    /// Where a ticket by region stands.
    pub(in crate::change) fn of_regions(&self) -> Stage {
        let all = &self.status.regions;
        if self.has_taken(ChangeVerb::Cancel) {
            let parts = format!("with its parts ({})", words(all));
            return if self.has_parts() {
                Stage::Cancelling
            } else {
                Stage::Ended(self.cancelled(&parts))
            };
        }
        let begun = all.iter().any(|region| region.started_at.is_some());
        let is_over = self.now >= self.closes() && !self.has_parts();
        if all.iter().all(|region| region.finished_at.is_some()) || begun && is_over {
            return Stage::Ended(ended(all));
        }
        let waits = self.handed_in().err();
        if begun {
            let why = waits.as_ref().and_then(Stage::why);
            let why = why.map(|why| format!("; what has not started waits: {why}"));
            return Stage::Executing(format!("{}{}", words(all), why.unwrap_or_default()));
        }
        match (waits, self.taken()) {
            (Some(stage), _) => stage,
            (None, Some(taken)) => Stage::Blocked(taken),
            (None, None) => Stage::Scheduled(words(all)),
        }
    }

    /// Whether any part is there that has not ended.
    pub(in crate::change) fn has_parts(&self) -> bool {
        self.status.regions.iter().any(is_there)
    }

    /// What has the name of a part and is none.
    fn taken(&self) -> Option<Refusal> {
        let mut missing = self.status.regions.iter().filter(|r| r.uid.is_none());
        let taken = missing.find(|region| self.named(&region.ticket).is_some())?;
        let message = format!(
            "ChangeTicket {} has the name of the part of region {} and is something else; delete it",
            taken.ticket, taken.name
        );
        Some(Refusal::new("NameTaken", message))
    }

    fn named(&self, name: &str) -> Option<&ChangeTicket> {
        let mut parts = self.world.parts.iter();
        parts.find(|part| part.metadata.name.as_deref() == Some(name))
    }

    /// What is done to parts, once everybody has agreed to the whole as it is now. What was changed by hand meanwhile is left as it is: nobody has agreed to that, and who changed it may look into it.
    pub(in crate::change) fn for_parts(&self, stage: &Stage) -> Vec<ForPart> {
        let goes_on = matches!(
            stage,
            Stage::Scheduled(_) | Stage::Executing(_) | Stage::Blocked(_)
        );
        let Ok(content) = &self.content else {
            return Vec::new();
        };
        if !goes_on || !self.is_whole() || self.handed_in().is_err() {
            return Vec::new();
        }
        let regions = self.status.regions.iter();
        let open = regions.filter(|region| region.finished_at.is_none());
        open.filter_map(|region| self.for_part(region, content))
            .collect()
    }

    fn for_part(&self, region: &RegionStatus, content: &Content) -> Option<ForPart> {
        let mut planned = self.ticket.spec.regions.iter();
        let planned = planned.find(|planned| planned.name == region.name)?;
        let name = region.ticket.clone();
        let Some(there) = self.named(&name) else {
            let wanted = part(self.ticket, planned, &content.digest);
            return Some(ForPart::Create(name, Box::new(wanted)));
        };
        region.uid.as_ref()?;
        // What was started is reviewed with the Job that it was started with.
        let begun = there.status.as_ref().filter(|s| s.started.is_some());
        let revision = begun.and_then(|status| status.job_revision.clone());
        let revision = revision.or_else(|| content.revision.clone());
        let used = match begun {
            Some(begun) => begun.solution.clone(),
            None => content.solution.clone(),
        };
        let digest = Content::at(self.ticket, (revision, used), None, None).digest;
        let follows = there.spec.part_of.as_ref().map(|of| &of.digest) == Some(&digest);
        let wanted = || Box::new(part(self.ticket, planned, &digest));
        (!follows).then(|| ForPart::Write(name, wanted()))
    }

    /// Takes in that the whole was cancelled, while there is something to cancel.
    pub(in crate::change) fn follow(&mut self) {
        let of = self.ticket.spec.part_of.as_ref();
        let Some(cancel) = of.and_then(|of| cancelled(of, self.world.whole)) else {
            return;
        };
        let stage = self.stage();
        let is_open = !matches!(
            stage,
            Stage::Ended(_) | Stage::Cancelling | Stage::Verifying(_)
        );
        if is_open && !self.has_taken(ChangeVerb::Cancel) {
            self.status.actions.push(cancel);
        }
    }
}

/// The word with which a whole was cancelled.
fn cancelled(of: &ChangePartOf, whole: Option<&ChangeTicket>) -> Option<ChangeActionTaken> {
    let told = whole.filter(|whole| is_of(of, whole))?.status.as_ref()?;
    let mut taken = told.actions.iter();
    let cancel = taken.find(|taken| taken.action == ChangeVerb::Cancel);
    cancel.cloned()
}

fn is_there(region: &RegionStatus) -> bool {
    region.uid.is_some() && region.finished_at.is_none()
}

/// Where each region stands, in a line.
fn words(all: &[RegionStatus]) -> String {
    let word = |region: &RegionStatus| {
        let summary = region.summary.as_deref().unwrap_or("Waiting");
        format!("{} {summary}", region.name)
    };
    all.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// How parts that have all ended have ended together: well if each has, and as surely as the least sure.
fn ended(all: &[RegionStatus]) -> End {
    let results: Vec<_> = all.iter().filter_map(|r| r.result.as_ref()).collect();
    let went = |result: &&ChangeResult| result.outcome == ChangeOutcome::Success;
    let is_well = results.len() == all.len() && results.iter().all(went);
    let is = |how| results.iter().any(|result| result.verified == Some(how));
    let mut least_sure_first = [Verified::NotVerifiable, Verified::InWindow].into_iter();
    let verified = least_sure_first.find(|how| is(*how));
    let verified = verified.unwrap_or(Verified::ByRun);
    let notes = all.iter().map(|region| {
        let result = region.result.as_ref();
        let note = result.and_then(|result| result.note.as_deref());
        let note = note.map(|note| format!(": {note}")).unwrap_or_default();
        format!("{}{note}", words(std::slice::from_ref(region)))
    });
    let told = notes.collect::<Vec<_>>().join("; ");
    let (reason, outcome) = if is_well {
        ("Succeeded", ChangeOutcome::Success)
    } else {
        ("PartsFailed", ChangeOutcome::Failed)
    };
    End {
        reason,
        result: Some(ChangeResult {
            outcome,
            verified: is_well.then_some(verified),
            note: Some(clip(&told, 1024)),
        }),
        message: told,
    }
}
