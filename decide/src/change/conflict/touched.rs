//! Objects that a ticket is about: by their names, or by how these begin.

use std::collections::BTreeSet;

use crds::v1alpha1::{ChangeTicketSpec, ProtectionRule};

use super::Item;

/// Group and resource of Hosts.
const HOSTS: (&str, &str) = ("pilothouse.dev", "hosts");

/// Objects of any of these groups and resources, by any of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    groups: Vec<String>,
    resources: Vec<String>,
    names: BTreeSet<String>,
    /// How names begin.
    prefixes: Vec<String>,
}

impl Touched {
    fn new(groups: &[String], resources: &[String], names: &[String]) -> Self {
        let (prefixes, names): (Vec<_>, Vec<_>) =
            names.iter().cloned().partition(|name| name.ends_with('*'));
        let cut = |name: String| name.trim_end_matches('*').to_owned();
        Self {
            groups: groups.to_vec(),
            resources: resources.to_vec(),
            names: names.into_iter().collect(),
            prefixes: prefixes.into_iter().map(cut).collect(),
        }
    }

    /// All that a ticket says it touches: hosts and objects of its scope, and what may be done by hand.
    pub fn by(spec: &ChangeTicketSpec) -> Vec<Self> {
        let one = |group: &str, resource: &str, names: &[String]| {
            Self::new(&[group.to_owned()], &[resource.to_owned()], names)
        };
        let hosts =
            (!spec.scope.hosts.is_empty()).then(|| one(HOSTS.0, HOSTS.1, &spec.scope.hosts));
        let objects = spec.scope.objects.iter();
        let objects =
            objects.map(|of| one(&of.group, &of.resource, std::slice::from_ref(&of.name)));
        let allow = spec.allow.iter();
        let by_hand = allow.map(|of| Self::new(&of.groups, &of.resources, &of.names));
        hosts.into_iter().chain(objects).chain(by_hand).collect()
    }

    fn covers(&self, item: &Item) -> bool {
        self.groups.contains(&item.group)
            && self.resources.contains(&item.resource)
            && self.covers_name(&item.name)
    }

    fn covers_name(&self, name: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.names.contains(name) || prefixes.any(|prefix| name.starts_with(prefix))
    }

    /// A name that both are about.
    fn shared_name(&self, other: &Self) -> Option<String> {
        let name = |of: &Self, by: &Self| {
            let mut names = of.names.iter();
            names.find(|name| by.covers_name(name)).cloned()
        };
        let begins = || {
            let pairs = self.prefixes.iter();
            let longer = pairs.flat_map(|a| other.prefixes.iter().map(move |b| (a, b)));
            let mut longer = longer.filter_map(|(a, b)| {
                let fits = a.starts_with(b.as_str()) || b.starts_with(a.as_str());
                fits.then(|| format!("{}*", if a.len() > b.len() { a } else { b }))
            });
            longer.next()
        };
        name(self, other)
            .or_else(|| name(other, self))
            .or_else(begins)
    }

    fn shared(&self, other: &Self) -> Option<String> {
        self.groups
            .iter()
            .find(|group| other.groups.contains(group))?;
        let mut resources = self.resources.iter();
        let resource = resources.find(|resource| other.resources.contains(resource))?;
        Some(format!("{resource}/{}", self.shared_name(other)?))
    }

    /// What a rule is about of these, where it can be told: labels are not known here.
    pub(super) fn ruled(&self, rule: &ProtectionRule) -> Option<String> {
        let any = |list: &[String], own: &str| list.iter().any(|one| one == "*" || one == own);
        self.groups.iter().find(|own| any(&rule.groups, own))?;
        let resource = self
            .resources
            .iter()
            .find(|own| any(&rule.resources, own))?;
        let names = if rule.names.is_empty() {
            vec!["*".to_owned()]
        } else {
            rule.names.clone()
        };
        let by_name = Self::new(&[], &[], &names);
        Some(format!("{resource}/{}", self.shared_name(&by_name)?))
    }
}

impl From<&Item> for Touched {
    fn from(item: &Item) -> Self {
        let alone = |text: &String| vec![text.clone()];
        Self::new(
            &alone(&item.group),
            &alone(&item.resource),
            &alone(&item.name),
        )
    }
}

/// The first object that both are about.
pub fn common(own: &[Touched], other: &[Touched]) -> Option<String> {
    let mut pairs = own.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    pairs.find_map(|(a, b)| a.shared(b))
}

pub fn covers(all: &[Touched], item: &Item) -> bool {
    all.iter().any(|touched| touched.covers(item))
}
