//! Rules that users write: conditions over what is known of a change, compiled once for all of them.

use crds::v1alpha1::{ChangeTicket, RiskReason, RiskRule, RiskScale, clip};
use serde_json::{Value, json};

use super::{Facts, SAID};
use crate::{
    Refusal,
    condition::{self, Compiled},
};

/// What conditions can name.
const VARIABLES: [&str; 4] = ["ticket", "namespaceObject", "job", "conflicts"];
/// What is said of a rule of which nobody knows what is wrong with it.
const UNTRIED: &str = "it cannot be evaluated";

/// What conditions are asked of.
pub(super) struct Given {
    variables: Value,
    known: Vec<&'static str>,
}

impl Given {
    pub(super) fn of(ticket: &ChangeTicket, facts: &Facts<'_>) -> Self {
        let meta = &ticket.metadata;
        let is_known = |name: &&str| match *name {
            "namespaceObject" => facts.labels.is_some(),
            "job" => facts.job.is_some() || ticket.spec.plan.job.is_none(),
            _ => true,
        };
        let conflicts = facts.conflicts.iter().map(|found| &found.conflict);
        let variables = json!({
            "ticket": {
                "metadata": {
                    "name": meta.name.as_deref().unwrap_or_default(),
                    "namespace": meta.namespace.as_deref().unwrap_or_default(),
                    "labels": meta.labels.clone().unwrap_or_default(),
                },
                "spec": ticket.spec,
            },
            // As policies of Kubernetes call it; the plain word is one of CEL's own.
            "namespaceObject": {
                "metadata": {
                    "name": meta.namespace.as_deref().unwrap_or_default(),
                    "labels": facts.labels,
                },
            },
            "job": facts.job,
            "conflicts": conflicts.collect::<Vec<_>>(),
        });
        Self {
            variables,
            known: VARIABLES.into_iter().filter(is_known).collect(),
        }
    }
}

/// Rules of a policy as they were compiled; of those that cannot even be tried, none is.
#[derive(Debug)]
pub(super) struct Rules(Vec<(RiskRule, Option<Compiled>)>);

impl Rules {
    pub(super) fn of(rules: &[RiskRule]) -> Self {
        if rules.is_empty() {
            return Self(Vec::new());
        }
        let compile = |rule: &RiskRule| Some(Compiled::of("when", &rule.when));
        let compiled = condition::with_room(|| rules.iter().map(compile).collect::<Vec<_>>());
        let compiled = compiled.unwrap_or_else(|| rules.iter().map(|_| None).collect());
        Self(rules.iter().cloned().zip(compiled).collect())
    }

    /// Those that hold of a ticket, and those that cannot be judged.
    pub(super) fn holding(&self, given: &Given) -> Vec<RiskReason> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let judged = condition::with_room(|| {
            let all = self.0.iter();
            let judged = all.filter_map(|(rule, when)| judge(rule, when.as_ref(), given));
            judged.collect()
        });
        let unjudged = || self.0.iter().map(|(rule, _)| unjudged(rule, UNTRIED));
        judged.unwrap_or_else(|| unjudged().collect())
    }
}

fn judge(rule: &RiskRule, when: Option<&Compiled>, given: &Given) -> Option<RiskReason> {
    let Some(when) = when else {
        return Some(unjudged(rule, UNTRIED));
    };
    if when.names_only(&VARIABLES) && !when.names_only(&given.known) {
        return None;
    }
    match when.holds(&given.variables) {
        Ok(holds) => holds.then(|| counted(rule, &rule.why)),
        Err(refusal) => Some(unjudged(rule, &refusal.message)),
    }
}

fn unjudged(rule: &RiskRule, error: &str) -> RiskReason {
    let why = format!(
        "{} (it cannot be judged, and counts in full: {error})",
        rule.why
    );
    counted(rule, &why)
}

fn counted(rule: &RiskRule, why: &str) -> RiskReason {
    RiskReason {
        rule: rule.name.clone(),
        sort: rule.sort,
        score: rule.score,
        why: clip(why, SAID),
    }
}

/// Why rules cannot be used: those that do not compile, or that name what there is not.
pub fn check(scale: &RiskScale) -> Vec<Refusal> {
    let checked = scale.rules.iter().map(|rule| {
        let field = format!("spec.require.ticket.risk.rules[{}].when", rule.name);
        condition::check(&field, &rule.when, &VARIABLES)
    });
    checked.filter_map(Result::err).collect()
}
