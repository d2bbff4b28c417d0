//! One way around, and how bad it is that this one holds it there.

use crds::{names::DEFAULT_RUNNER, v1alpha1::CommandSeverity as Severity};
use serde::Serialize;

use super::{
    Binding, Holder, World,
    holder::{CLUSTER, Standing},
    rule::Grant,
    security,
    way::{CREATE_PODS, Reach, STATUS, Way},
};

/// What the names of the parts of Pilothouse have in common.
const OURS: &str = "pilothouse";

/// Who can go which way, by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    /// Name of the way.
    pub way: &'static str,
    pub subject: Holder,
    pub binding: Object,
    pub role: Object,
    /// Where it holds; none means the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Verbs and what they are for.
    pub rights: Vec<String>,
    /// Names of the objects that the rights are on; none means every one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// What makes it better or worse there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub goes_around: &'static str,
    pub instead: &'static str,
}

/// A binding or a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Object {
    pub kind: String,
    pub name: String,
}

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    Cluster,
    Namespace(&'a str),
}

impl<'a> Place<'a> {
    pub fn is_in(self, reach: Reach, release: &str) -> bool {
        match (self, reach) {
            (Self::Cluster, _) | (_, Reach::Namespaces) => true,
            (Self::Namespace(namespace), Reach::Release) => namespace == release,
            (Self::Namespace(_), Reach::Cluster) => false,
        }
    }

    pub fn namespace(self) -> Option<&'a str> {
        match self {
            Self::Cluster => None,
            Self::Namespace(namespace) => Some(namespace),
        }
    }

    /// Whether the cluster's own parts, or ours, are within it.
    fn holds_the_system(self, release: &str) -> bool {
        self.namespace()
            .is_none_or(|n| n == CLUSTER || n == release)
    }
}

impl Finding {
    pub(super) fn of(
        world: &World,
        binding: &Binding<'_>,
        (way, grant): (&Way, &Grant),
        holder: &Holder,
    ) -> Self {
        let place = binding.place;
        let security = (way.id == CREATE_PODS).then(|| security::of(&world.namespaces, place));
        let kind = match place {
            Place::Cluster => "ClusterRoleBinding",
            Place::Namespace(_) => "RoleBinding",
        };
        let base = security.as_ref().map_or(way.severity, |(harm, _)| *harm);
        Self {
            severity: severity(world, place, (way, base), (grant, holder)),
            way: way.id,
            subject: holder.clone(),
            binding: Object::new(kind, binding.name),
            role: Object::new(&binding.role.kind, &binding.role.name),
            namespace: place.namespace().map(ToOwned::to_owned),
            rights: grant.rights.clone(),
            names: grant.names.clone(),
            note: security.map(|(_, note)| note),
            goes_around: way.around,
            instead: way.instead,
        }
    }
}

impl Object {
    fn new(kind: &str, name: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One worse where it is wide, where everybody holds it and where nothing else stands in the way; one better where it is bound to names that are not ours.
fn severity(
    world: &World,
    place: Place<'_>,
    (way, base): (&Way, Severity),
    (grant, holder): (&Grant, &Holder),
) -> Severity {
    let is_wide = way.reach != Reach::Cluster && place.holds_the_system(&world.release);
    let is_everybody = holder.standing(&world.release) == Standing::Everybody;
    let is_open = way.id == STATUS && !world.status_is_kept;
    let is_ours = |name: &String| name.contains(OURS) && name != DEFAULT_RUNNER;
    let is_narrow = !grant.names.is_empty() && !grant.names.iter().any(is_ours);
    let worse = [is_wide, is_everybody, is_open].map(usize::from);
    let rank = base as usize + worse.iter().sum::<usize>();
    ranked(rank.saturating_sub(usize::from(is_narrow)))
}

fn ranked(rank: usize) -> Severity {
    match rank {
        0 => Severity::Low,
        1 => Severity::Medium,
        2 => Severity::High,
        _ => Severity::Critical,
    }
}
