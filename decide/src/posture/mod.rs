//! Who can go around what Pilothouse guards: roles and bindings in, the ways that they open out. The server has put aggregated roles together already.

mod finding;
mod holder;
mod rule;
mod security;
mod way;

use std::{cmp::Reverse, collections::HashMap};

use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

pub use finding::{Finding, Object};
pub use holder::Holder;

use finding::Place;
use holder::Standing;
use rule::Grant;
use way::{EVERYTHING, WAYS, Way};

/// What the cluster says, as far as it could be read.
#[derive(Debug, Default)]
pub struct World {
    pub cluster_roles: Vec<ClusterRole>,
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
    pub roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
    /// Their labels say what Pod Security lets in.
    pub namespaces: Vec<Namespace>,
    /// Namespace that Pilothouse is installed in.
    pub release: String,
    /// Whether the policy that keeps status to the operator is known to be in force.
    pub status_is_kept: bool,
}

/// What was found, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posture {
    pub findings: Vec<Finding>,
    /// Of the cluster's own parts and of Pilothouse: they have to hold what they hold.
    pub of_the_system: Vec<Finding>,
}

impl Posture {
    pub fn of(world: &World) -> Self {
        let roles = Roles::of(world);
        let mut posture = Self::default();
        for binding in bindings(world) {
            let ways = ways(binding.place, &world.release, roles.rules(&binding));
            for holder in holders(&binding) {
                let standing = holder.standing(&world.release);
                let told = ways
                    .iter()
                    .map(|(way, grant)| Finding::of(world, &binding, (way, grant), &holder));
                match standing {
                    Standing::System => posture.of_the_system.extend(told),
                    Standing::Everybody | Standing::Other => posture.findings.extend(told),
                }
            }
        }
        posture.findings.sort_by_key(order);
        posture.of_the_system.sort_by_key(order);
        posture
    }

    /// Those of the system among the others.
    #[must_use]
    pub fn together(mut self) -> Self {
        self.findings.append(&mut self.of_the_system);
        self.findings.sort_by_key(order);
        self
    }
}

/// The worst first, and then as the table of ways goes.
fn order(finding: &Finding) -> impl Ord + use<> {
    let place = WAYS.iter().position(|way| way.id == finding.way);
    let binding = finding.binding.name.clone();
    let who = (finding.subject.clone(), finding.namespace.clone(), binding);
    (Reverse(finding.severity), place, who)
}

/// A binding of either kind.
struct Binding<'a> {
    place: Place<'a>,
    name: &'a str,
    role: &'a RoleRef,
    subjects: &'a [Subject],
}

fn bindings(world: &World) -> impl Iterator<Item = Binding<'_>> {
    let of_cluster = world.cluster_role_bindings.iter().map(|b| Binding {
        place: Place::Cluster,
        name: b.metadata.name.as_deref().unwrap_or_default(),
        role: &b.role_ref,
        subjects: b.subjects.as_deref().unwrap_or_default(),
    });
    let of_namespaces = world.role_bindings.iter().map(|b| Binding {
        place: Place::Namespace(b.metadata.namespace.as_deref().unwrap_or_default()),
        name: b.metadata.name.as_deref().unwrap_or_default(),
        role: &b.role_ref,
        subjects: b.subjects.as_deref().unwrap_or_default(),
    });
    of_cluster.chain(of_namespaces)
}

/// Each once, however often it is named.
fn holders(binding: &Binding<'_>) -> Vec<Holder> {
    let mut holders: Vec<_> = binding.subjects.iter().map(Holder::of).collect();
    holders.sort();
    holders.dedup();
    holders
}

/// Rules by the namespace and the name of their role; a ClusterRole has no namespace.
struct Roles<'a>(HashMap<(Option<&'a str>, &'a str), &'a [PolicyRule]>);

impl<'a> Roles<'a> {
    fn of(world: &'a World) -> Self {
        let of_cluster = world.cluster_roles.iter().map(|r| (&r.metadata, &r.rules));
        let of_namespaces = world.roles.iter().map(|r| (&r.metadata, &r.rules));
        let all = of_cluster.chain(of_namespaces).map(|(metadata, rules)| {
            let name = metadata.name.as_deref().unwrap_or_default();
            let rules = rules.as_deref().unwrap_or_default();
            ((metadata.namespace.as_deref(), name), rules)
        });
        Self(all.collect())
    }

    /// A role that is not there allows nothing.
    fn rules(&self, binding: &Binding<'_>) -> &'a [PolicyRule] {
        let namespace = match binding.place {
            Place::Namespace(namespace) if binding.role.kind == "Role" => Some(namespace),
            Place::Namespace(_) | Place::Cluster => None,
        };
        let rules = self.0.get(&(namespace, binding.role.name.as_str()));
        rules.copied().unwrap_or_default()
    }
}

/// The ways that rules open where they are bound; whoever may do everything is told of once.
fn ways(place: Place<'_>, release: &str, rules: &[PolicyRule]) -> Vec<(&'static Way, Grant)> {
    let of = |way: &'static Way| {
        let grant = Grant::of(way.accesses, rules)?;
        place.is_in(way.reach, release).then_some((way, grant))
    };
    let mut ways: Vec<_> = WAYS.iter().filter_map(of).collect();
    if ways.first().is_some_and(|(way, _)| way.id == EVERYTHING) {
        ways.truncate(1);
    }
    ways
}

#[cfg(test)]
mod tests;
