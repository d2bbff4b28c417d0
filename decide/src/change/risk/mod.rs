//! How risky a change is, by ProtectionPolicies: each weighs by its own rules and by who carries the change out, and asks by its own score. What cannot be judged counts in full.

mod levels;
mod past;
mod personnel;
mod rules;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crds::v1alpha1::{
    CalendarRef, ChangeRisk, ChangeTicket, JobSpec, PolicyMode, ProtectionPolicy, RiskReason,
    RiskScale, clip,
};
use jiff::Timestamp;

pub use past::Past;
pub use rules::check;

use super::conflict::Found;
use crate::{Refusal, calendar::Calendar};
use rules::Given;

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

/// Weighs a ticket by the policies about its namespace.
pub fn weigh<'a>(
    ticket: &ChangeTicket,
    policies: impl IntoIterator<Item = &'a ProtectionPolicy>,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Weighed {
    let scales: Vec<_> = scales(policies).collect();
    if scales.is_empty() {
        return Weighed::default();
    }
    let given = Given::of(ticket, facts);
    let opinion = |(policy, scale): (&'a ProtectionPolicy, &'a RiskScale)| {
        let mut reasons = rules::holding(&scale.rules, &given);
        if let Some(personnel) = &scale.personnel {
            reasons.extend(personnel::counted(ticket, personnel, facts, now));
        }
        Opinion::of(policy, scale, reasons)
    };
    let mut opinions: Vec<_> = scales.into_iter().map(opinion).collect();
    opinions.sort_by_key(|one| (Reverse(one.score), one.policy));
    summed(&opinions, levels::apart(&ticket.spec.review))
}

/// Calendars that tell the hours of work.
pub fn calendars<'a>(
    policies: impl IntoIterator<Item = &'a ProtectionPolicy>,
) -> BTreeSet<&'a CalendarRef> {
    let personnel = scales(policies).filter_map(|(_, scale)| scale.personnel.as_ref());
    let hours = personnel.filter_map(|personnel| personnel.out_of_hours.as_ref());
    hours.map(|hours| &hours.calendar).collect()
}

/// Policies that weigh at all.
pub fn scales<'a>(
    policies: impl IntoIterator<Item = &'a ProtectionPolicy>,
) -> impl Iterator<Item = (&'a ProtectionPolicy, &'a RiskScale)> {
    let asked = policies.into_iter();
    let asked = asked.filter(|policy| policy.spec.mode != PolicyMode::Disabled);
    asked.filter_map(|policy| {
        let ticketed = policy.spec.require.ticket.as_ref()?;
        Some((policy, ticketed.risk.as_ref()?))
    })
}

/// What all policies come to, the highest score first.
fn summed(opinions: &[Opinion<'_>], levels: i32) -> Weighed {
    let enforced = || opinions.iter().filter(|one| one.is_enforced);
    let refusal = strictest(enforced(), levels);
    let lacks = refusal
        .clone()
        .or_else(|| strictest(opinions.iter(), levels));
    let risk = opinions.first().map(|highest| ChangeRisk {
        score: highest.score,
        policy: highest.policy.to_owned(),
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
    policy: &'a str,
    scale: &'a RiskScale,
    is_enforced: bool,
    score: i32,
    reasons: Vec<RiskReason>,
}

impl<'a> Opinion<'a> {
    fn of(
        policy: &'a ProtectionPolicy,
        scale: &'a RiskScale,
        mut reasons: Vec<RiskReason>,
    ) -> Self {
        reasons.sort_by_key(|reason| Reverse(reason.score));
        let sum: i32 = reasons.iter().map(|reason| reason.score).sum();
        Self {
            policy: policy.metadata.name.as_deref().unwrap_or_default(),
            scale,
            is_enforced: policy.spec.mode == PolicyMode::Enforce,
            score: sum.min(MOST),
            reasons,
        }
    }

    /// Levels of review that it asks for.
    fn levels(&self) -> Option<i32> {
        let reached = self.scale.review.iter().filter(|of| self.score >= of.score);
        reached.map(|of| of.levels).max()
    }

    /// What it asks for that is not there, and how much that is.
    fn lacking(&self, levels: i32) -> Option<(i32, Refusal)> {
        if let Some(most) = self.scale.block_at.filter(|most| self.score >= *most) {
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
            self.policy
        )
    }
}

#[cfg(test)]
mod tests;
