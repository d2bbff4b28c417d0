//! Who agrees to a change, or to a solution for many: people of its levels who neither wrote any of it nor carry it out.

use std::collections::BTreeSet;

use crds::v1alpha1::{
    Approval, ChangeSolution, ChangeTicket, Decision, Implementers, LevelStatus, Requester,
    ReviewLevel, ReviewRule, SubjectKind,
};
use jiff::Timestamp;

use super::Content;
use crate::{Refusal, approval};

/// People that a status names of a level.
const NAMED: usize = 20;

/// What is reviewed.
#[derive(Clone, Copy, Debug)]
pub struct Reviewing<'a> {
    kind: SubjectKind,
    /// As people type it.
    word: &'static str,
    name: &'a str,
    levels: &'a [ReviewLevel],
    /// The ticket, in which stands who carries it out; nobody carries out a solution.
    ticket: Option<&'a ChangeTicket>,
}

impl<'a> From<&'a ChangeTicket> for Reviewing<'a> {
    fn from(ticket: &'a ChangeTicket) -> Self {
        Self {
            kind: SubjectKind::ChangeTicket,
            word: "ticket",
            name: ticket.metadata.name.as_deref().unwrap_or_default(),
            levels: &ticket.spec.review,
            ticket: Some(ticket),
        }
    }
}

impl<'a> From<&'a ChangeSolution> for Reviewing<'a> {
    fn from(solution: &'a ChangeSolution) -> Self {
        Self {
            kind: SubjectKind::ChangeSolution,
            word: "solution",
            name: solution.metadata.name.as_deref().unwrap_or_default(),
            levels: &solution.spec.review,
            ticket: None,
        }
    }
}

/// What stands between something that was handed in and its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Somebody has to correct something first.
    Blocked(Refusal),
    Rejected(Refusal),
    /// Somebody has still to decide.
    InReview(String),
}

/// How far the review of one content is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reviewed {
    pub levels: Vec<LevelStatus>,
    pub rejected: Option<Refusal>,
    /// When the first decision that counts ends.
    pub expires: Option<Timestamp>,
}

impl Reviewed {
    pub fn of<'a>(
        of: impl Into<Reviewing<'a>>,
        content: &Content,
        approvals: &[Approval],
        now: Timestamp,
    ) -> Self {
        let of = of.into();
        let counting = |a: &&Approval| counts(of, content, a, now).is_ok();
        let counting: Vec<_> = approvals.iter().filter(counting).collect();
        let mut no = counting
            .iter()
            .filter(|a| a.spec.decision == Decision::Reject);
        let rejected = no.next().map(|by| rejected(by));
        let yes: Vec<_> = counting
            .iter()
            .filter(|a| a.spec.decision == Decision::Approve)
            .filter_map(|a| a.spec.requested_by.as_ref())
            .collect();
        let levels = of.levels.iter();
        let ends = counting.iter().filter_map(|a| a.spec.expires.as_ref());
        Self {
            levels: levels.map(|level| how_far(level, &yes)).collect(),
            rejected,
            expires: ends.map(|at| at.0).min(),
        }
    }

    pub fn is_approved(&self) -> bool {
        let mut levels = self.levels.iter();
        self.rejected.is_none() && levels.all(|level| level.approved >= level.needed)
    }
}

/// What keeps it from being approved; what it is may not be known, and its run may be barred.
pub fn pending<'a>(
    of: impl Into<Reviewing<'a>>,
    content: Result<&Content, &Refusal>,
    barred: Option<&Refusal>,
    reviewed: &Reviewed,
) -> Result<(), Pending> {
    let of = of.into();
    let content = content.map_err(|refusal| Pending::Blocked(refusal.clone()))?;
    if content.authors.is_empty() {
        let message = format!(
            "spec.requestedBy is empty; apply the {} again while the admission policies of the chart are in force",
            of.word
        );
        return Err(Pending::Blocked(Refusal::new("NotStamped", message)));
    }
    if let Some(barred) = barred {
        return Err(Pending::Blocked(barred.clone()));
    }
    if let Some(rejected) = &reviewed.rejected {
        return Err(Pending::Rejected(rejected.clone()));
    }
    if reviewed.is_approved() {
        return Ok(());
    }
    Err(match impossible(of, &content.writers) {
        Some(never) => Pending::Blocked(never),
        None => Pending::InReview(left(of, reviewed)),
    })
}

/// Whether a decision about a ticket or a solution is one that counts.
pub fn counts<'a>(
    of: impl Into<Reviewing<'a>>,
    content: &Content,
    approval: &Approval,
    now: Timestamp,
) -> Result<(), Refusal> {
    let of = of.into();
    let subject = &approval.spec.subject;
    if subject.kind != of.kind || subject.name != of.name {
        return Err(Refusal::new("NotFound", "it is about another object"));
    }
    if let Some(whole) = of.ticket.and_then(|ticket| ticket.spec.part_of.as_ref()) {
        let message = format!(
            "{} is reviewed with ChangeTicket {}; decide on that",
            of.name, whole.name
        );
        return Err(Refusal::new("PartOfTicket", message));
    }
    let said = approval::Content {
        kind: of.kind,
        name: of.name,
        step: None,
        digest: &content.digest,
        writers: &content.writers,
    };
    said.counts(approval, now)?;
    let Some(by) = &approval.spec.requested_by else {
        return Err(Refusal::new("OwnWork", "nobody knows who decided"));
    };
    if of.ticket.is_some_and(|ticket| is_implementer(ticket, by)) {
        let message = format!(
            "{} carries the change out (spec.implementers); somebody else has to decide",
            by.user
        );
        return Err(Refusal::new("Implementer", message));
    }
    if !of.levels.iter().any(|level| is_of(level, by)) {
        let message = format!(
            "{} is of no level of spec.review; have one of these decide: {}",
            by.user,
            everyone(of)
        );
        return Err(Refusal::new("NotReviewer", message));
    }
    Ok(())
}

/// Whether somebody carries the change out, in any of its regions.
pub fn is_implementer(ticket: &ChangeTicket, by: &Requester) -> bool {
    let mut all = implementers(ticket);
    all.any(|of| is_among(&of.users, &of.groups, by))
}

fn implementers(ticket: &ChangeTicket) -> impl Iterator<Item = &Implementers> {
    let regions = ticket.spec.regions.iter();
    let of_regions = regions.filter_map(|region| region.implementers.as_ref());
    std::iter::once(&ticket.spec.implementers).chain(of_regions)
}

fn is_of(level: &ReviewLevel, by: &Requester) -> bool {
    is_among(&level.users, &level.groups, by)
}

pub(super) fn is_among(users: &[String], groups: &[String], by: &Requester) -> bool {
    users.contains(&by.user) || groups.iter().any(|group| by.groups.contains(group))
}

fn how_far(level: &ReviewLevel, yes: &[&Requester]) -> LevelStatus {
    let mut by: Vec<_> = yes.iter().filter(|by| is_of(level, by)).collect();
    by.sort_by_key(|by| &by.user);
    by.dedup_by_key(|by| &by.user);
    let of_group = by.iter().any(|by| is_among(&[], &level.groups, by));
    let (approved, needed) = match level.rule {
        ReviewRule::Any => (by.len().min(1), 1),
        ReviewRule::All => {
            let named = |user: &&String| by.iter().any(|by| by.user == **user);
            let named = level.users.iter().filter(named).count();
            let groups = usize::from(!level.groups.is_empty());
            (named + usize::from(of_group), level.users.len() + groups)
        }
    };
    let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    LevelStatus {
        name: level.name.clone(),
        approved: number(approved),
        needed: number(needed),
        by: by.iter().take(NAMED).map(|by| by.user.clone()).collect(),
    }
}

/// The first level that can never agree, since those whom it names are kept from it by what else they do.
fn impossible(of: Reviewing<'_>, writers: &BTreeSet<String>) -> Option<Refusal> {
    let implements = |user: &String| {
        let mut all = of.ticket.into_iter().flat_map(implementers);
        all.any(|of| of.users.contains(user))
    };
    let kept_out = |user: &&String| writers.contains(*user) || implements(user);
    let never = |level: &&ReviewLevel| {
        let mut users = level.users.iter();
        match level.rule {
            ReviewRule::All => users.any(|user| kept_out(&user)),
            ReviewRule::Any => level.groups.is_empty() && users.all(|user| kept_out(&user)),
        }
    };
    let level = of.levels.iter().find(never)?;
    let names: Vec<_> = level.users.iter().filter(kept_out).cloned().collect();
    let message = format!(
        "spec.review: level {} can never agree, since {} wrote part of the change or carry it out; name others",
        level.name,
        names.join(", ")
    );
    Some(Refusal::new("NobodyToReview", message))
}

/// What is still to be decided, and by whom.
fn left(of: Reviewing<'_>, reviewed: &Reviewed) -> String {
    let levels = of.levels.iter().zip(&reviewed.levels);
    let open = levels.filter(|(_, told)| told.approved < told.needed);
    let told = |(level, told): (&ReviewLevel, &LevelStatus)| {
        format!(
            "{} {} of {} ({})",
            level.name,
            told.approved,
            told.needed,
            people(level)
        )
    };
    let open: Vec<_> = open.map(told).collect();
    format!(
        "have these decide (kubectl pilothouse approve {}/{}): {}",
        of.word,
        of.name,
        open.join("; ")
    )
}

fn everyone(of: Reviewing<'_>) -> String {
    let all: Vec<_> = of.levels.iter().map(people).collect();
    all.join(", ")
}

fn people(level: &ReviewLevel) -> String {
    let all = match level.rule {
        ReviewRule::Any => "any of ",
        ReviewRule::All => "all of ",
    };
    let groups = level.groups.iter().map(|group| format!("group {group}"));
    let names: Vec<_> = level.users.iter().cloned().chain(groups).collect();
    format!("{all}{}", names.join(", "))
}

fn rejected(by: &Approval) -> Refusal {
    let message = format!(
        "rejected by {}: {}; change it, and have it reviewed anew",
        by.spec.requested_by.as_ref().map_or("", |by| &by.user),
        by.spec.reason.as_deref().unwrap_or_default()
    );
    Refusal::new("Rejected", message)
}
