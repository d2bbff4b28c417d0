//! CommandPolicies as the operator hears of them. They are of the whole cluster, so where only some namespaces are served there are none.

use std::{collections::BTreeMap, sync::Arc};

use crds::v1alpha1::CommandPolicy;
use decide::{command::Rulebook, gate};
use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _, core::DeserializeGuard, runtime::watcher};

use crate::{
    bursts::Bursts,
    context::Context,
    error::{Error, Result},
    heard::{self, Known},
    scope::Scope,
};

/// News of policies, which have to be followed for them to be known, and what is known.
pub type News = (
    BoxStream<'static, Result<DeserializeGuard<CommandPolicy>, watcher::Error>>,
    Known<CommandPolicy>,
);

/// Labels of namespaces, which policies choose them by.
type Labels = Result<BTreeMap<String, String>, Arc<kube::Error>>;

pub struct Policies {
    known: Option<Known<CommandPolicy>>,
    labels: Bursts<String, Labels>,
}

impl Policies {
    pub fn heard(client: &Client, scope: &Scope) -> (Self, Option<News>) {
        let everywhere = scope.is_every_namespace();
        let heard = everywhere.then(|| heard::follow(Api::all(client.clone())));
        let policies = Self {
            known: heard.as_ref().map(|(known, _)| known.clone()),
            labels: Bursts::default(),
        };
        (policies, heard.map(|(known, news)| (news.boxed(), known)))
    }

    /// What is heard of, where there can be any.
    pub fn known(&self) -> Option<Known<CommandPolicy>> {
        self.known.clone()
    }

    /// The rules that hold in a namespace.
    pub async fn books(&self, ctx: &Context, namespace: &str) -> Result<Vec<Rulebook>> {
        let Some(known) = &self.known else {
            return Ok(Vec::new());
        };
        let all = heard::all(known).await?;
        let all = all.iter().map(|policy| readable(policy));
        let all = all.collect::<Result<Vec<_>>>()?;
        let labels = if all.iter().any(|p| p.spec.namespace_selector.is_some()) {
            self.labels(ctx, namespace).await?
        } else {
            BTreeMap::new()
        };
        gate::books(all, &labels).map_err(|refusal| Error::Invalid(refusal.message))
    }

    /// Labels of a namespace, which policies choose it by.
    pub async fn labels(&self, ctx: &Context, namespace: &str) -> Result<BTreeMap<String, String>> {
        let read = async || {
            let found = Api::<Namespace>::all(ctx.prompt.clone())
                .get(namespace)
                .await;
            found.map(|found| found.labels().clone()).map_err(Arc::new)
        };
        let labels = self.labels.ask(namespace.to_owned(), read).await;
        labels.map_err(|source| Error::Observe {
            what: format!("Namespace {namespace}"),
            source,
        })
    }
}

fn readable(policy: &DeserializeGuard<CommandPolicy>) -> Result<&CommandPolicy> {
    policy.0.as_ref().map_err(|invalid| {
        let name = invalid.metadata.name.as_deref().unwrap_or_default();
        Error::Invalid(format!("CommandPolicy {name}: {}", invalid.error))
    })
}
