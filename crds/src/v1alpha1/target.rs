//! Where a step does its work: hosts, pods, workloads, nodes, or nowhere in particular.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Exactly one of `hosts`, `pods`, `workloads`, `nodes` and `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.hosts), has(self.pods), has(self.workloads), has(self.nodes), has(self.none)].filter(x, x).size() == 1").message("targets is exactly one of hosts, pods, workloads, nodes and none"))]
pub struct Targets {
    /// hosts are Host objects of the run's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<ObjectTargets>,
    /// pods are running pods of the run's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<ObjectTargets>,
    /// workloads are Deployments, StatefulSets or DaemonSets of the run's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<WorkloadTargets>,
    /// nodes are nodes of the cluster; the run's account must be allowed to read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<ObjectTargets>,
    /// none is for work that is done once: a pod step, whatever the targets are, and http, wait and pause. Steps of other bodies refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<NoTargets>,
}

/// The step runs once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoTargets {}

/// Objects of one kind, by names or by a selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.selector) != (size(self.names) > 0)").message("give either names or a selector"))]
pub struct ObjectTargets {
    /// names of the targets, in the order in which batches take them.
    #[serde(default)]
    #[schemars(length(max = 2000), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
    /// selector picks targets by their labels when the run is planned; batches take them by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
}

/// Workloads of one kind, by names or by a selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.selector) != (size(self.names) > 0)").message("give either names or a selector"))]
pub struct WorkloadTargets {
    /// kind of the workloads: Deployment, StatefulSet or DaemonSet.
    pub kind: WorkloadKind,
    /// names of the targets, in the order in which batches take them.
    #[serde(default)]
    #[schemars(length(max = 2000), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
    /// selector picks targets by their labels when the run is planned; batches take them by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
}

impl WorkloadTargets {
    /// What is chosen, whatever the kind.
    pub fn objects(&self) -> ObjectTargets {
        ObjectTargets {
            names: self.names.clone(),
            selector: self.selector.clone(),
        }
    }
}

/// Kinds of workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// A label selector; all its parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// matchLabels are labels that a target must carry with exactly these values.
    #[serde(default)]
    #[schemars(schema_with = "schema::label_map")]
    pub match_labels: BTreeMap<String, String>,
    /// matchExpressions are further requirements.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.operator in ['In', 'NotIn']) == (size(self.values) > 0)").message("In and NotIn take values; Exists and DoesNotExist take none"))]
pub struct Requirement {
    /// key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// operator is In, NotIn, Exists or DoesNotExist.
    pub operator: Operator,
    /// values for In and NotIn.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub values: Vec<String>,
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// The selector in the form that list requests take.
    pub fn query(&self) -> String {
        let labels = self
            .match_labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let requirements = self.match_expressions.iter().map(|r| {
            let values = r.values.join(",");
            match r.operator {
                Operator::In => format!("{} in ({values})", r.key),
                Operator::NotIn => format!("{} notin ({values})", r.key),
                Operator::Exists => r.key.clone(),
                Operator::DoesNotExist => format!("!{}", r.key),
            }
        });
        labels.chain(requirements).collect::<Vec<_>>().join(",")
    }

    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let meets = |r: &Requirement| {
            let value = labels.get(&r.key);
            match r.operator {
                Operator::In => value.is_some_and(|v| r.values.contains(v)),
                Operator::NotIn => value.is_none_or(|v| !r.values.contains(v)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        };
        let mut equal = self.match_labels.iter();
        equal.all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(meets)
    }
}

#[cfg(test)]
mod tests {
    use super::{Operator, Requirement, Selector};

    fn selector() -> Selector {
        let requirement = |key: &str, operator, values: &[&str]| Requirement {
            key: key.into(),
            operator,
            values: values.iter().map(ToString::to_string).collect(),
        };
        Selector {
            match_labels: [("app".into(), "shop".into())].into(),
            match_expressions: vec![
                requirement("tier", Operator::In, &["db", "web"]),
                requirement("old", Operator::DoesNotExist, &[]),
            ],
        }
    }

    #[test]
    fn a_selector_becomes_a_list_query() {
        assert_eq!(selector().query(), "app=shop,tier in (db,web),!old");
    }

    #[test]
    fn a_selector_means_objects_that_meet_all_it_asks() {
        let meant = |labels: &[(&str, &str)]| {
            let labels = labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            selector().matches(&labels.collect())
        };
        assert!(meant(&[("app", "shop"), ("tier", "db")]));
        assert!(!meant(&[("app", "shop")]) && !meant(&[("app", "bank"), ("tier", "db")]));
        assert!(!meant(&[("app", "shop"), ("tier", "db"), ("old", "")]));
        assert!(Selector::default().matches(&[].into()));
    }
}
