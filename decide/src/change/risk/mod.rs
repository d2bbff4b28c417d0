//! How risky a change is, by ProtectionPolicies: each weighs by its own rules and by who carries the change out, and asks by its own score. What cannot be judged counts in full.

mod levels;
mod past;
mod personnel;
mod rules;

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use crds::v1alpha1::{
    CalendarRef, ChangeOutcome, ChangeRisk, ChangeTicket, JobSpec, PolicyMode, ProtectionPolicy,
    RiskReason, RiskScale, clip,
};
use jiff::{SignedDuration, Timestamp};

pub use past::Past;
pub use rules::check;

use super::conflict::Found;
use crate::{Refusal, calendar::Calendar};
use rules::{Given, Rules};

/// The highest score.
const MOST: i32 = 100;
/// Reasons that a sentence names.
const NAMED: usize = 3;
/// Bytes of what is said.
const SAID: usize = 1024;

/// What is known besides the ticket.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Labels of the namespace; where they are not known, what asks for the namespace is left out.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// What its Job says; where it has one that is not known, what asks for it is left out.
    pub job: Option<&'a JobSpec>,
    pub conflicts: &'a [Found],
    /// Changes of the namespace that have ended.
    pub past: &'a [Past],
    /// Those that policies name, as far as they can be read.
    pub calendars: &'a BTreeMap<CalendarRef, Arc<Calendar>>,
}

/// What became of weighing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    /// None where no policy weighs.
    pub risk: Option<ChangeRisk>,
    /// What keeps the ticket back.
    pub refusal: Option<Refusal>,
    /// What whoever writes the ticket is told, if anything counts.
    pub told: Option<String>,
}

/// How a policy weighs, with its rules compiled once for all tickets.
#[derive(Debug)]
pub struct Scale {
    policy: String,
    is_enforced: bool,
    says: RiskScale,
    rules: Rules,
}

impl Scale {
    /// None of a policy that does not weigh.
    pub fn of(policy: &ProtectionPolicy) -> Option<Self> {
        let says = says(policy)?;
        Some(Self {
            policy: policy.metadata.name.clone().unwrap_or_default(),
            is_enforced: policy.spec.mode == PolicyMode::Enforce,
            says: says.clone(),
            rules: Rules::of(&says.rules),
        })
    }

    /// The calendar that tells the hours of work.
    pub fn hours(&self) -> Option<&CalendarRef> {
        let personnel = self.says.personnel.as_ref();
        let hours = personnel.and_then(|personnel| personnel.out_of_hours.as_ref());
        hours.map(|hours| &hours.calendar)
    }

    /// Until when a change that has failed counts against those who had a part in it.
    pub fn remembers(&self, past: &Past) -> Option<Timestamp> {
        let personnel = self.says.personnel.as_ref()?;
        let of = personnel.recent_failures.as_ref()?;
        let within = SignedDuration::try_from(of.within.get()).unwrap_or(SignedDuration::MAX);
        let until = past.ended.saturating_add(within).unwrap_or(Timestamp::MAX);
        (past.outcome == ChangeOutcome::Failed).then_some(until)
    }
}

fn says(policy: &ProtectionPolicy) -> Option<&RiskScale> {
    let asked = Some(policy).filter(|policy| policy.spec.mode != PolicyMode::Disabled);
    asked?.spec.require.ticket.as_ref()?.risk.as_ref()
}

/// Weighs a ticket by the policies about its namespace.
pub fn weigh<'a>(
    ticket: &ChangeTicket,
    scales: impl IntoIterator<Item = &'a Scale>,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Weighed {
    let mut scales = scales.into_iter().peekable();
    if scales.peek().is_none() {
        return Weighed::default();
    }
    let given = Given::of(ticket, facts);
    let opinion = |scale: &'a Scale| {
        let mut reasons = scale.rules.holding(&given);
        if let Some(personnel) = &scale.says.personnel {
            reasons.extend(personnel::counted(ticket, personnel, facts, now));
        }
        Opinion::of(scale, reasons)
    };
    let mut opinions: Vec<_> = scales.map(opinion).collect();
    opinions.sort_by_key(|one| (Reverse(one.score), &one.of.policy));
    summed(&opinions, levels::apart(&ticket.spec.review))
}

/// What all policies come to, the highest score first.
fn summed(opinions: &[Opinion<'_>], levels: i32) -> Weighed {
    let enforced = || opinions.iter().filter(|one| one.of.is_enforced);
    let refusal = strictest(enforced(), levels);
    let lacks = refusal
        .clone()
        .or_else(|| strictest(opinions.iter(), levels));
    let risk = opinions.first().map(|highest| ChangeRisk {
        score: highest.score,
        policy: highest.of.policy.clone(),
        review_levels: enforced().filter_map(Opinion::levels).max(),
        lacks: lacks.as_ref().map(|lacks| clip(&lacks.message, SAID)),
        reasons: highest.reasons.clone(),
    });
    let counts = opinions.first().filter(|highest| highest.score > 0);
    let told = lacks.map(|lacks| lacks.to_string());
    let told = told.or_else(|| Some(format!("Risk: {}", counts?.said())));
    Weighed {
        risk,
        refusal,
        told,
    }
}

/// The most that is asked for and is not there.
fn strictest<'a>(opinions: impl Iterator<Item = &'a Opinion<'a>>, levels: i32) -> Option<Refusal> {
    let lacking = opinions.filter_map(|one| one.lacking(levels));
    let most = lacking.min_by_key(|(severity, _)| Reverse(*severity));
    most.map(|(_, refusal)| refusal)
}

/// How much of the highest score a policy gives, and for what.
struct Opinion<'a> {
    of: &'a Scale,
    score: i32,
    reasons: Vec<RiskReason>,
}

impl<'a> Opinion<'a> {
    fn of(of: &'a Scale, mut reasons: Vec<RiskReason>) -> Self {
        reasons.sort_by_key(|reason| Reverse(reason.score));
        let sum: i32 = reasons.iter().map(|reason| reason.score).sum();
        let score = sum.min(MOST);
        Self { of, score, reasons }
    }

    /// Levels of review that it asks for.
    fn levels(&self) -> Option<i32> {
        let asked = self.of.says.review.iter();
        let reached = asked.filter(|of| self.score >= of.score);
        reached.map(|of| of.levels).max()
    }

    /// What it asks for that is not there, and how much that is.
    fn lacking(&self, levels: i32) -> Option<(i32, Refusal)> {
        let block_at = self.of.says.block_at;
        if let Some(most) = block_at.filter(|most| self.score >= *most) {
            let message = format!(
                "{}, which lets through no change of {most} or more; make it less risky (status.risk.reasons)",
                self.said()
            );
            return Some((i32::MAX, Refusal::new("RiskTooHigh", message)));
        }
        let needed = self.levels().filter(|needed| *needed > levels)?;
        let message = format!(
            "{}, which asks for {needed} levels of review of other people each, and spec.review has {levels}; add levels, or make it less risky (status.risk.reasons)",
            self.said()
        );
        Some((needed, Refusal::new("ReviewTooSmall", message)))
    }

    fn said(&self) -> String {
        let named = self.reasons.iter().take(NAMED);
        let named: Vec<_> = named
            .map(|one| format!("{} {}", one.rule, one.score))
            .collect();
        let more = match self.reasons.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "the risk is {} of {MOST} ({}{more}) by ProtectionPolicy {}",
            self.score,
            named.join(", "),
            self.of.policy
        )
    }
}

#[cfg(test)]
mod tests;
