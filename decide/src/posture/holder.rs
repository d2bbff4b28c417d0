//! Who holds a right, and whether that is somebody to tell of.

use std::fmt;

use k8s_openapi::api::rbac::v1::Subject;
use serde::Serialize;

/// The cluster's own namespace.
pub const CLUSTER: &str = "kube-system";
/// Groups that the cluster's own parts are in.
const GROUPS: [&str; 5] = [
    "system:masters",
    "system:nodes",
    "system:bootstrappers",
    "system:monitoring",
    "system:serviceaccounts:kube-system",
];
/// Users that the cluster's own parts are.
const USERS: [&str; 4] = [
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-proxy",
    "system:kube-scheduler",
];
/// Groups and a user that whoever reaches the API server is, or any pod.
const EVERYBODY: [&str; 4] = [
    "system:anonymous",
    "system:authenticated",
    "system:serviceaccounts",
    "system:unauthenticated",
];
/// Accounts of Pilothouse itself, in the namespace of the release.
const OURS: [&str; 4] = [
    "pilothouse-operator",
    "pilothouse-server",
    "pilothouse-front",
    "pilothouse-webhook",
];

/// A user, a group or a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Holder {
    pub kind: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Whose a right is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Who reaches the API server at all, or any account.
    Everybody,
    /// Part of the cluster, or of Pilothouse: it has to hold what it holds.
    System,
    Other,
}

impl Holder {
    /// An account may be bound by the name of its user too.
    pub fn of(subject: &Subject) -> Self {
        let account = subject.name.strip_prefix("system:serviceaccount:");
        let account = account.filter(|_| subject.kind == "User");
        if let Some((namespace, name)) = account.and_then(|a| a.split_once(':')) {
            return Self {
                kind: "ServiceAccount".to_owned(),
                name: name.to_owned(),
                namespace: Some(namespace.to_owned()),
            };
        }
        Self {
            kind: subject.kind.clone(),
            name: subject.name.clone(),
            namespace: subject.namespace.clone(),
        }
    }

    pub fn standing(&self, release: &str) -> Standing {
        let name = self.name.as_str();
        let is_system = match (self.kind.as_str(), self.namespace.as_deref()) {
            ("ServiceAccount", Some(CLUSTER)) => true,
            ("ServiceAccount", Some(namespace)) => namespace == release && OURS.contains(&name),
            ("Group", _) => GROUPS.contains(&name) || name.starts_with("system:bootstrappers:"),
            ("User", _) => USERS.contains(&name) || name.starts_with("system:node:"),
            _ => false,
        };
        if is_system {
            return Standing::System;
        }
        if self.kind != "ServiceAccount" && EVERYBODY.contains(&name) {
            return Standing::Everybody;
        }
        Standing::Other
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}
