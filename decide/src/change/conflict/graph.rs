//! What stands on what in a namespace: Services and disruption budgets on workloads, these on their pods, pods on nodes, and nodes on the Hosts that they are. Related is what stands on an object, or what it stands on; two workloads that only share a node are not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crds::v1alpha1::{Host, Operator, Requirement, Selector};
use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};

use super::Touched;

/// Objects that are followed from those of a ticket.
const FOLLOWED: usize = 2000;
/// Owners of owners that are followed.
const DEEP: usize = 5;

/// An object by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub group: String,
    pub resource: String,
    pub name: String,
}

impl Item {
    pub fn new(group: &str, resource: &str, name: &str) -> Self {
        let [group, resource, name] = [group, resource, name].map(str::to_owned);
        Self {
            group,
            resource,
            name,
        }
    }

    fn owner(of: &OwnerReference) -> Self {
        let group = of
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        Self::new(group, &format!("{}s", of.kind.to_lowercase()), &of.name)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource, self.name)
    }
}

/// An object that is owned and owns others, such as a ReplicaSet.
#[derive(Clone, Debug)]
pub struct Owned {
    pub item: Item,
    pub meta: ObjectMeta,
}

/// Which objects stand on which.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    beneath: BTreeMap<Item, BTreeSet<Item>>,
    above: BTreeMap<Item, BTreeSet<Item>>,
}

impl Graph {
    pub fn of(
        pods: &[Pod],
        between: &[Owned],
        services: &[Service],
        budgets: &[PodDisruptionBudget],
        hosts: &[Host],
    ) -> Self {
        let mut graph = Self::default();
        let owners: BTreeMap<_, _> = between
            .iter()
            .filter_map(|owned| Some((owned.item.clone(), controller(&owned.meta)?)))
            .collect();
        for (item, owner) in &owners {
            graph.stands(owner.clone(), item.clone());
        }
        let selectors = selectors(services, budgets);
        for pod in pods {
            graph.add_pod(pod, &owners, &selectors);
        }
        for host in hosts {
            if let Some(node) = &host.spec.node_name {
                let name = host.metadata.name.as_deref().unwrap_or_default();
                let host = Item::new("pilothouse.dev", "hosts", name);
                graph.stands(Item::new("", "nodes", node), host);
            }
        }
        graph
    }

    fn add_pod(
        &mut self,
        pod: &Pod,
        owners: &BTreeMap<Item, Item>,
        selectors: &[(Item, Selector)],
    ) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let own = Item::new("", "pods", name);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        if let Some(node) = node {
            self.stands(own.clone(), Item::new("", "nodes", node));
        }
        let mut root = own.clone();
        if let Some(owner) = controller(&pod.metadata) {
            self.stands(owner.clone(), own);
            root = owner;
        }
        for _ in 0..DEEP {
            match owners.get(&root) {
                Some(owner) => root = owner.clone(),
                None => break,
            }
        }
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        for (by, _) in selectors.iter().filter(|(_, s)| s.matches(&labels)) {
            self.stands(by.clone(), root.clone());
        }
    }

    /// Notes that one object stands on another.
    pub fn stands(&mut self, above: Item, beneath: Item) {
        let downwards = self.beneath.entry(above.clone()).or_default();
        downwards.insert(beneath.clone());
        self.above.entry(beneath).or_default().insert(above);
    }

    /// What stands on these objects and what they stand on, without themselves.
    pub fn related(&self, touched: &[Touched]) -> BTreeSet<Item> {
        let all = self.beneath.keys().chain(self.above.keys());
        let own: BTreeSet<_> = all
            .filter(|item| super::touched::covers(touched, item))
            .cloned()
            .collect();
        let mut related = reached(&own, &self.beneath);
        related.extend(reached(&own, &self.above));
        related.retain(|item| !own.contains(item));
        related
    }
}

/// Everything on the way from these, in one direction.
fn reached(from: &BTreeSet<Item>, ways: &BTreeMap<Item, BTreeSet<Item>>) -> BTreeSet<Item> {
    let (mut found, mut next) = (BTreeSet::new(), from.iter().collect::<Vec<_>>());
    while let Some(item) = next.pop() {
        for further in ways.get(item).into_iter().flatten() {
            if found.len() < FOLLOWED && found.insert(further.clone()) {
                next.push(further);
            }
        }
    }
    found
}

fn controller(meta: &ObjectMeta) -> Option<Item> {
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    Some(Item::owner(owner))
}

/// What chooses pods by their labels. A Service without a selector chooses none; a budget with an empty one chooses all.
fn selectors(services: &[Service], budgets: &[PodDisruptionBudget]) -> Vec<(Item, Selector)> {
    let name = |meta: &ObjectMeta| meta.name.clone().unwrap_or_default();
    let services = services.iter().filter_map(|service| {
        let labels = service.spec.as_ref()?.selector.clone()?;
        let selector = Selector {
            match_labels: labels,
            match_expressions: Vec::new(),
        };
        let chooses = !selector.match_labels.is_empty();
        let item = Item::new("", "services", &name(&service.metadata));
        chooses.then_some((item, selector))
    });
    let budgets = budgets.iter().filter_map(|budget| {
        let selector = selector(budget.spec.as_ref()?.selector.clone()?)?;
        let item = Item::new("policy", "poddisruptionbudgets", &name(&budget.metadata));
        Some((item, selector))
    });
    services.chain(budgets).collect()
}

fn selector(of: LabelSelector) -> Option<Selector> {
    let expressions = of.match_expressions.unwrap_or_default().into_iter();
    let expressions = expressions.map(|one| {
        let operator = match one.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            _ => return None,
        };
        Some(Requirement {
            key: one.key,
            operator,
            values: one.values.unwrap_or_default(),
        })
    });
    Some(Selector {
        match_labels: of.match_labels.unwrap_or_default(),
        match_expressions: expressions.collect::<Option<_>>()?,
    })
}
