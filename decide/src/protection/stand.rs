//! What a policy says to somebody who is about to do something, in the words of the chart's policy: so that people are told beforehand. Whoever needs the truth asks the API server.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    Allowed, CalendarState, GlassRecord, Pass, ProtectedOperation, ProtectionPolicy,
    ProtectionPolicySpec, ProtectionRule, Requester,
};

type Labels = BTreeMap<String, String>;

/// What is about to be done to which object.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub operation: ProtectedOperation,
    pub group: &'a str,
    /// By its plural name.
    pub resource: &'a str,
    pub name: &'a str,
    /// Empty for an object that is in none.
    pub namespace: &'a str,
    /// Of the namespace.
    pub around: &'a Labels,
    /// Of the object, as they are and as they would be.
    pub labels: &'a [&'a Labels],
}

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stand<'a> {
    /// It is not about that.
    Elsewhere,
    Open,
    /// It is closed, and they pass as members of this group.
    Glass(&'a str),
    /// It is closed, and they pass with a ticket.
    Ticket(&'a Pass),
    /// It is closed to them, since they wrote the ticket that allows it, or have agreed to it.
    Own(&'a Pass),
    Closed,
}

/// What a policy says to somebody, whatever its mode makes of it.
pub fn stand<'a>(policy: &'a ProtectionPolicy, asked: &Asked<'_>, by: &Requester) -> Stand<'a> {
    if !covers(&policy.spec, asked) {
        return Stand::Elsewhere;
    }
    if is_open(policy) {
        return Stand::Open;
    }
    if let Some(group) = glass(policy, asked, by) {
        return Stand::Glass(group);
    }
    let is_own = |pass: &&Pass| pass.except.contains(&by.user);
    let is_theirs = |pass: &&Pass| {
        pass.users.contains(&by.user) || pass.groups.iter().any(|group| by.groups.contains(group))
    };
    let mut theirs = passes(policy, asked).filter(is_theirs);
    if let Some(pass) = theirs.find(|pass| !is_own(pass)) {
        return Stand::Ticket(pass);
    }
    let own = passes(policy, asked).find(is_own);
    own.map_or(Stand::Closed, Stand::Own)
}

/// The group as whose member somebody breaks the glass, with a live BreakGlass where one is needed.
fn glass<'a>(
    policy: &'a ProtectionPolicy,
    asked: &Asked<'_>,
    by: &Requester,
) -> Option<&'a String> {
    let glass = policy.spec.break_glass.as_ref()?;
    let told = policy.status.as_ref();
    let mut broken = told.into_iter().flat_map(|status| &status.broken);
    let is_recorded = glass.record == GlassRecord::Optional
        || !is_namespace(asked)
            && broken.any(|one| one.user == by.user && one.namespace == asked.namespace);
    let mut groups = glass.groups.iter().filter(|_| is_recorded);
    groups.find(|group| by.groups.contains(group))
}

/// The live tickets that allow it, for whomever.
pub fn passes<'a>(
    policy: &'a ProtectionPolicy,
    asked: &Asked<'_>,
) -> impl Iterator<Item = &'a Pass> {
    let told = policy.status.as_ref();
    let told = told.filter(|status| {
        policy.spec.require.ticket.is_some()
            && status.observed_generation == policy.metadata.generation
            && !is_namespace(asked)
    });
    let passes = told.into_iter().flat_map(|status| &status.passes);
    passes.filter(|pass| {
        pass.namespace == asked.namespace && pass.allow.iter().any(|allow| allows(allow, asked))
    })
}

/// One that is newer than its status is closed.
fn is_open(policy: &ProtectionPolicy) -> bool {
    policy.status.as_ref().is_some_and(|status| {
        status.state == Some(CalendarState::Open)
            && status.observed_generation >= policy.metadata.generation
    })
}

/// Whether the policy is about that.
fn covers(spec: &ProtectionPolicySpec, asked: &Asked<'_>) -> bool {
    let selector = spec.namespace_selector.as_ref();
    let is_bounded = !spec.namespaces.is_empty() || selector.is_some();
    let (home, around): (_, &[&Labels]) = if is_namespace(asked) {
        (asked.name, asked.labels)
    } else {
        (asked.namespace, &[asked.around])
    };
    let chosen = |labels: &&Labels| selector.is_some_and(|selector| selector.matches(labels));
    let is_chosen = !home.is_empty() && around.iter().any(chosen);
    let is_named = spec.namespaces.iter().any(|name| name == home);
    if is_bounded && is_namespace(asked) {
        return match asked.operation {
            ProtectedOperation::Delete => {
                let deletes = |rule: &ProtectionRule| rule.operations.contains(&asked.operation);
                (is_named || is_chosen) && spec.rules.iter().any(deletes)
            }
            _ => false,
        };
    }
    (!is_bounded || is_named || is_chosen) && spec.rules.iter().any(|rule| is_about(rule, asked))
}

fn is_about(rule: &ProtectionRule, asked: &Asked<'_>) -> bool {
    let any = |all: &[String], one: &str| all.iter().any(|text| text == "*" || text == one);
    rule.operations.contains(&asked.operation)
        && any(&rule.groups, asked.group)
        && any(&rule.resources, asked.resource)
        && (rule.names.is_empty() || is_named(&rule.names, asked.name))
        && rule.selector.as_ref().is_none_or(|selector| {
            let mut labels = asked.labels.iter();
            labels.any(|labels| selector.matches(labels))
        })
}

fn allows(allow: &Allowed, asked: &Asked<'_>) -> bool {
    let has = |all: &[String], one: &str| all.iter().any(|text| text == one);
    allow.operations.contains(&asked.operation)
        && has(&allow.groups, asked.group)
        && has(&allow.resources, asked.resource)
        && is_named(&allow.names, asked.name)
}

/// Exactly, or with a star at the end by how it begins.
fn is_named(names: &[String], name: &str) -> bool {
    names.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => wanted == name,
    })
}

fn is_namespace(asked: &Asked<'_>) -> bool {
    asked.group.is_empty() && asked.resource == "namespaces"
}
