//! Rules that users write: conditions over what is known of a change.

use crds::v1alpha1::{ChangeTicket, RiskReason, RiskRule, RiskScale, clip};
use serde_json::{Value, json};

use super::{Facts, SAID};
use crate::{
    Refusal,
    condition::{self, Conditions},
};

/// What conditions can name.
const VARIABLES: [&str; 4] = ["ticket", "namespaceObject", "job", "conflicts"];

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

/// The rules that hold of a ticket, and those that cannot be judged.
pub(super) fn holding(rules: &[RiskRule], given: &Given) -> Vec<RiskReason> {
    if rules.is_empty() {
        return Vec::new();
    }
    let judged = condition::with_room(|| {
        let mut conditions = Conditions::default();
        let judged = rules
            .iter()
            .filter_map(|rule| judge(rule, given, &mut conditions));
        judged.collect()
    });
    let unjudged = || {
        rules
            .iter()
            .map(|rule| unjudged(rule, "it cannot be evaluated"))
    };
    judged.unwrap_or_else(|| unjudged().collect())
}

fn judge(rule: &RiskRule, given: &Given, conditions: &mut Conditions) -> Option<RiskReason> {
    let mut names_only = |names: &[&str]| conditions.names_only("when", &rule.when, names);
    if names_only(&VARIABLES) && !names_only(&given.known) {
        return None;
    }
    match conditions.holds("when", &rule.when, &given.variables) {
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
