//! ProtectionPolicies that are about the namespace of a ticket, as they are heard of, where there can be any.

use std::{collections::BTreeMap, sync::Arc};

use crds::v1alpha1::ProtectionPolicy;
use decide::change::{conflict, risk::Scale};
use kube::core::DeserializeGuard;

use crate::{context::Context, error::Result, heard, scales::Known};

/// What is known of them, and of the namespace.
pub struct Bound {
    all: Vec<Arc<DeserializeGuard<ProtectionPolicy>>>,
    scales: Known,
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
            scales: ctx.memory.scales.of(readable(&all)),
            all,
            namespace: namespace.to_owned(),
            labels: None,
        };
        let chooses = |policy: &ProtectionPolicy| policy.spec.namespace_selector.is_some();
        let by_labels = readable(&bound.all).any(chooses) || !bound.scales.is_empty();
        if by_labels {
            bound.labels = Some(ctx.policies.labels(ctx, namespace).await?);
        }
        Ok(bound)
    }

    pub fn policies(&self) -> Vec<&ProtectionPolicy> {
        let about =
            |policy: &&ProtectionPolicy| conflict::is_about(policy, &self.namespace, self.labels());
        readable(&self.all).filter(about).collect()
    }

    /// How these weigh, each that does.
    pub fn scales(&self) -> Vec<&Scale> {
        let policies = self.policies().into_iter();
        policies
            .filter_map(|policy| self.scales.of(policy))
            .collect()
    }

    pub const fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref()
    }
}

fn readable(
    all: &[Arc<DeserializeGuard<ProtectionPolicy>>],
) -> impl Iterator<Item = &ProtectionPolicy> {
    all.iter().filter_map(|policy| policy.0.as_ref().ok())
}
