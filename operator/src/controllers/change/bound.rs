//! ProtectionPolicies that are about the namespace of a ticket, as they are heard of, where there can be any.

use std::{collections::BTreeMap, sync::Arc};

use crds::v1alpha1::ProtectionPolicy;
use decide::change::{conflict, risk};
use kube::core::DeserializeGuard;

use crate::{context::Context, error::Result, heard};

/// What is known of them, and of the namespace.
pub struct Bound {
    all: Vec<Arc<DeserializeGuard<ProtectionPolicy>>>,
    namespace: String,
    /// Of the namespace, where a policy chooses by them or weighs risks.
    labels: Option<BTreeMap<String, String>>,
}

impl Bound {
    pub async fn look(ctx: &Context, namespace: &str) -> Result<Self> {
        let all = match &ctx.protections {
            Some(known) => heard::all(known).await?,
            None => Vec::new(),
        };
        let mut bound = Self {
            all,
            namespace: namespace.to_owned(),
            labels: None,
        };
        let chooses = |policy: &ProtectionPolicy| policy.spec.namespace_selector.is_some();
        let by_labels =
            bound.readable().any(chooses) || risk::scales(bound.readable()).next().is_some();
        if by_labels {
            bound.labels = Some(ctx.policies.labels(ctx, namespace).await?);
        }
        Ok(bound)
    }

    pub fn policies(&self) -> Vec<&ProtectionPolicy> {
        let about =
            |policy: &&ProtectionPolicy| conflict::is_about(policy, &self.namespace, self.labels());
        self.readable().filter(about).collect()
    }

    pub const fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref()
    }

    fn readable(&self) -> impl Iterator<Item = &ProtectionPolicy> {
        self.all.iter().filter_map(|policy| policy.0.as_ref().ok())
    }
}
