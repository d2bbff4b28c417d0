//! What rules of RBAC allow, as the API server reads them.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Stands for every verb, group and resource, subresources among them.
const ALL: &str = "*";

/// Verbs on a resource of a group, its subresource after a slash.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub group: &'static str,
    pub resource: &'static str,
    pub verbs: &'static [&'static str],
}

/// What rules allow of something, and on which objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Verbs and the resource that they are for.
    pub rights: Vec<String>,
    /// Names of the objects; none means every object.
    pub names: Vec<String>,
}

impl Grant {
    /// What is allowed on every object, and where that is nothing, what is allowed on named ones.
    pub fn of(accesses: &[Access], rules: &[PolicyRule]) -> Option<Self> {
        let (named, free): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| has_names(rule));
        let rights = allowed(accesses, &free);
        if !rights.is_empty() {
            let names = Vec::new();
            return Some(Self { rights, names });
        }
        let rights = allowed(accesses, &named);
        let counts = |rule: &&&PolicyRule| !allowed(accesses, &[**rule]).is_empty();
        let counting = named.iter().filter(counts);
        let names: BTreeSet<_> = counting
            .flat_map(|r| r.resource_names.iter().flatten())
            .collect();
        let names = names.into_iter().cloned().collect();
        (!rights.is_empty()).then_some(Self { rights, names })
    }
}

fn allowed(accesses: &[Access], rules: &[&PolicyRule]) -> Vec<String> {
    let of = |access: &Access| {
        let any = |verb: &&&str| rules.iter().any(|rule| allows(rule, access, verb));
        let verbs: Vec<_> = access.verbs.iter().filter(any).copied().collect();
        (!verbs.is_empty()).then(|| format!("{} {}", verbs.join(","), access.resource))
    };
    accesses.iter().filter_map(of).collect()
}

fn allows(rule: &PolicyRule, access: &Access, verb: &str) -> bool {
    let holds = |list: &[String], wanted: &str| list.iter().any(|e| e == ALL || e == wanted);
    holds(rule.api_groups.as_deref().unwrap_or_default(), access.group)
        && is_for(rule, access.resource)
        && holds(&rule.verbs, verb)
        && (!has_names(rule) || can_be_named(access.resource, verb))
}

fn is_for(rule: &PolicyRule, wanted: &str) -> bool {
    let sub = wanted.split_once('/').map(|(_, sub)| sub);
    let covers = |entry: &String| {
        let of_any = entry.strip_prefix("*/");
        entry == ALL || entry == wanted || (of_any.is_some() && of_any == sub)
    };
    rule.resources.iter().flatten().any(covers)
}

fn has_names(rule: &PolicyRule) -> bool {
    rule.resource_names.as_ref().is_some_and(|n| !n.is_empty())
}

/// What is created has no name yet, what is deleted as a collection none of its own, and everything has none.
fn can_be_named(resource: &str, verb: &str) -> bool {
    let creates = verb == "create" && !resource.contains('/');
    !creates && verb != "deletecollection" && resource != ALL
}
