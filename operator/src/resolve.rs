//! Looks things up for a run with the rights of its account: targets, scripts and the Secrets that parameters name.

use std::{collections::BTreeMap, sync::Arc};

use crds::v1alpha1::{
    ConfigMapKeyRef, FileStep, Host, JobSpec, ObjectTargets, SecretKeyRef, Selector, Transport,
    WorkloadKind,
};
use decide::{
    Refusal,
    graph::LaneSpec,
    plan::{FileSource, PlannedTarget, SecretSource},
};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{ConfigMap, Node, Pod, Secret},
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PartialObjectMeta},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;

use crate::{bursts::Bursts, listed::Listed};

/// Pods that are read at once.
const PAGE: u32 = 500;

/// Why a look-up gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Gap {
    /// Looking again will not help until somebody changes the run or what it names.
    #[error(transparent)]
    Refused(Refusal),
    /// The account may not; it can be granted at any time.
    #[error("{0}")]
    Forbidden(String),
    /// Something was not looked at yet, such as a host, so that nobody knows which machine it is; the reason and a message.
    #[error("{1}")]
    Unseen(&'static str, String),
    #[error("cannot look up {what}")]
    Failed {
        what: String,
        #[source]
        source: Arc<kube::Error>,
    },
}

fn failed(what: &str, account: &str, error: kube::Error) -> Gap {
    match error {
        kube::Error::Api(status) if status.code == 403 => Gap::Forbidden(format!(
            "the account {account} may not read {what}: {}",
            status.message
        )),
        error => unread(what.to_owned(), error),
    }
}

/// Nobody's rights are in question: it has to be asked again.
pub fn unread(what: String, source: kube::Error) -> Gap {
    Gap::Failed {
        what,
        source: Arc::new(source),
    }
}

/// Secrets as they are read by namespace, account and name: the hosts of a batch often share one.
pub type Secrets = Bursts<[String; 3], Result<Option<Secret>, Gap>>;
/// Targets as they are read by namespace, account and what names them: runs that come together often have the same.
pub type Lanes = Bursts<[String; 3], Result<Vec<PlannedTarget>, Gap>>;

/// Reads on behalf of one run.
pub struct Resolver {
    pub client: Client,
    pub namespace: String,
    pub account: String,
    pub secrets: Arc<Secrets>,
    pub lanes: Arc<Lanes>,
    pub listed: Arc<Listed>,
}

impl Resolver {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The targets of a lane, in the order in which batches take them.
    pub async fn lane(&self, run_uid: &str, lane: &LaneSpec) -> Result<Vec<PlannedTarget>, Gap> {
        if *lane == LaneSpec::Once {
            return self.read(run_uid, lane).await;
        }
        let asked = [&self.namespace, &self.account, &format!("{lane:?}")].map(ToOwned::to_owned);
        self.lanes.ask(asked, || self.read(run_uid, lane)).await
    }

    async fn read(&self, run_uid: &str, lane: &LaneSpec) -> Result<Vec<PlannedTarget>, Gap> {
        match lane {
            LaneSpec::Once => Ok(vec![PlannedTarget {
                uid: run_uid.to_owned(),
                ..PlannedTarget::default()
            }]),
            LaneSpec::Hosts(wanted) => {
                let hosts = self.objects::<Host>("hosts.pilothouse.dev", wanted).await?;
                hosts.iter().map(host).collect()
            }
            LaneSpec::Nodes(wanted) => {
                let nodes = Api::<Node>::all(self.client.clone());
                let nodes = self.found(nodes, "nodes", "the cluster", wanted).await?;
                Ok(nodes.iter().map(node).collect())
            }
            LaneSpec::Workloads(wanted) => {
                let of = wanted.objects();
                match wanted.kind {
                    WorkloadKind::Deployment => self.named::<Deployment>("deployments", &of).await,
                    WorkloadKind::StatefulSet => {
                        self.named::<StatefulSet>("statefulsets", &of).await
                    }
                    WorkloadKind::DaemonSet => self.named::<DaemonSet>("daemonsets", &of).await,
                }
            }
            LaneSpec::Pods(wanted) => {
                if let Some(selector) = &wanted.selector {
                    return self.running_pods(selector).await;
                }
                self.named::<Pod>("pods", wanted).await
            }
        }
    }

    /// Page by page and without what they hold: a selector may match all the pods of a large namespace.
    async fn running_pods(&self, selector: &Selector) -> Result<Vec<PlannedTarget>, Gap> {
        let (api, mut found) = (self.api::<Pod>(), Vec::new());
        let running = ListParams::default().fields("status.phase=Running");
        let mut page = running.labels(&selector.query()).limit(PAGE);
        loop {
            let pods = api.list_metadata(&page).await;
            let pods = pods.map_err(|e| failed("pods", &self.account, e))?;
            let staying = |p: &&PartialObjectMeta<Pod>| p.metadata.deletion_timestamp.is_none();
            found.extend(pods.items.iter().filter(staying).map(by_name));
            match pods.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Objects of the run's namespace of which no more is planned with than who they are.
    async fn named<K>(&self, what: &str, wanted: &ObjectTargets) -> Result<Vec<PlannedTarget>, Gap>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        Ok(self
            .objects::<K>(what, wanted)
            .await?
            .iter()
            .map(by_name)
            .collect())
    }

    async fn objects<K>(&self, what: &str, wanted: &ObjectTargets) -> Result<Vec<K>, Gap>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let place = format!("namespace {}", self.namespace);
        self.found(self.api::<K>(), what, &place, wanted).await
    }

    async fn found<K>(
        &self,
        api: Api<K>,
        what: &str,
        place: &str,
        wanted: &ObjectTargets,
    ) -> Result<Vec<K>, Gap>
    where
        K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let Some(selector) = &wanted.selector else {
            let mut found = Vec::with_capacity(wanted.names.len());
            for name in &wanted.names {
                let one = api
                    .get_opt(name)
                    .await
                    .map_err(|e| failed(what, &self.account, e))?;
                found.push(one.ok_or_else(|| missing("TargetNotFound", format!("targets name {what} {name}, which is not in {place}; correct the name or create it")))?);
            }
            return Ok(found);
        };
        let list = api
            .list(&ListParams::default().labels(&selector.query()))
            .await;
        let mut found = list.map_err(|e| failed(what, &self.account, e))?.items;
        found.sort_by_key(kube::ResourceExt::name_any);
        Ok(found)
    }

    /// Where each secret parameter is, and in which version.
    pub async fn secrets(
        &self,
        wanted: &BTreeMap<String, SecretKeyRef>,
    ) -> Result<BTreeMap<String, SecretSource>, Gap> {
        let mut found = BTreeMap::new();
        for (parameter, reference) in wanted {
            let field = format!("spec.secretParameters.{parameter}");
            let secret = self.meant(reference, &field).await?;
            if !secret
                .data
                .as_ref()
                .is_some_and(|d| d.contains_key(&reference.key))
            {
                return Err(missing(
                    "MissingSecretKey",
                    format!(
                        "{field}: Secret {} has no key {}; add it or correct the key",
                        reference.name, reference.key
                    ),
                ));
            }
            let source = SecretSource {
                name: reference.name.clone(),
                key: reference.key.clone(),
                uid: secret.uid().unwrap_or_default(),
                resource_version: secret.resource_version().unwrap_or_default(),
            };
            found.insert(parameter.clone(), source);
        }
        Ok(found)
    }

    /// The Secret of a reference, read as the account.
    pub async fn meant(&self, place: &SecretKeyRef, field: &str) -> Result<Secret, Gap> {
        let secret = self.secret(&place.name, field).await?;
        let uid = secret.metadata.uid.as_deref();
        decide::secret::is_meant(field, place, uid).map_err(Gap::Refused)?;
        Ok(secret)
    }

    /// A Secret, read as the account.
    pub async fn secret(&self, name: &str, field: &str) -> Result<Secret, Gap> {
        let what = format!("Secret {name}");
        let asked = [&self.namespace, &self.account, name].map(str::to_owned);
        let read = async || {
            let found = self.api::<Secret>().get_opt(name).await;
            found.map_err(|e| failed(&what, &self.account, e))
        };
        let found = self.secrets.ask(asked, read).await?;
        found.ok_or_else(|| missing("MissingSecret", format!("{field}: there is no Secret {name} in namespace {}; create it or correct the name", self.namespace)))
    }

    /// Objects that hold the files of a job's steps, by step; each has to hold a file that can be put on a host.
    pub async fn files(&self, job: &JobSpec) -> Result<BTreeMap<String, FileSource>, Gap> {
        let mut found = BTreeMap::new();
        for step in job.all_steps() {
            let Some(file) = &step.file else {
                continue;
            };
            if let Some((source, content)) = self.file(&step.name, file).await? {
                decide::file::fits(&step.name, content.len()).map_err(Gap::Refused)?;
                found.insert(step.name.clone(), source);
            }
        }
        Ok(found)
    }

    /// The content of a file that an object holds, and which object that is.
    pub async fn file(
        &self,
        step: &str,
        file: &FileStep,
    ) -> Result<Option<(FileSource, Vec<u8>)>, Gap> {
        let (kind, key, metadata, content) = if let Some(place) = &file.secret {
            let field = format!("steps.{step}.file.secret.name");
            let Secret { metadata, data, .. } = self.meant(place, &field).await?;
            ("secret", &place.key, metadata, binary(data, &place.key))
        } else if let Some(ConfigMapKeyRef { name, key }) = &file.config_map {
            let found = self.config_map(step, name).await?;
            let text = found.data.and_then(|mut data| data.remove(key));
            let content = text.map(String::into_bytes);
            let content = content.or_else(|| binary(found.binary_data, key));
            ("configMap", key, found.metadata, content)
        } else {
            return Ok(None);
        };
        let content = content.ok_or_else(|| {
            let message = format!(
                "steps.{step}.file.{kind}.key: {} has no key {key}; add it or correct the key",
                metadata.name.clone().unwrap_or_default()
            );
            missing("FileNotFound", message)
        })?;
        let source = FileSource {
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
        };
        Ok(Some((source, content)))
    }

    async fn config_map(&self, step: &str, name: &str) -> Result<ConfigMap, Gap> {
        let found = self.api::<ConfigMap>().get_opt(name).await;
        let found = found.map_err(|e| failed(&format!("ConfigMap {name}"), &self.account, e))?;
        found.ok_or_else(|| {
            let message = format!("steps.{step}.file.configMap.name: there is no ConfigMap {name} in namespace {}; create it or correct the name", self.namespace);
            missing("FileNotFound", message)
        })
    }

    /// A Host, read as the account.
    pub async fn host(&self, name: &str, field: &str) -> Result<Host, Gap> {
        let what = format!("Host {name}");
        let found = self
            .api::<Host>()
            .get_opt(name)
            .await
            .map_err(|e| failed(&what, &self.account, e))?;
        found.ok_or_else(|| {
            missing(
                "TargetNotFound",
                format!(
                    "{field}: there is no Host {name} in namespace {}",
                    self.namespace
                ),
            )
        })
    }
}

fn binary(data: Option<BTreeMap<String, ByteString>>, key: &str) -> Option<Vec<u8>> {
    data.and_then(|mut data| data.remove(key))
        .map(|bytes| bytes.0)
}

fn missing(reason: &'static str, message: String) -> Gap {
    Gap::Refused(Refusal::new(reason, message))
}

fn host(host: &Host) -> Result<PlannedTarget, Gap> {
    let status = host.status.as_ref();
    if status.is_none_or(|s| s.last_tried.is_none()) {
        let message = format!(
            "Host {} was not looked at yet; the run goes on when it was",
            host.name_any()
        );
        return Err(Gap::Unseen("HostNotSeen", message));
    }
    let facts = status.and_then(|s| s.facts.as_ref());
    Ok(PlannedTarget {
        name: host.name_any(),
        uid: host.uid().unwrap_or_default(),
        address: host.spec.address.clone(),
        machine: facts.map(|f| f.machine_id.clone()).unwrap_or_default(),
        node: host.spec.node_name.clone().unwrap_or_default(),
        plain: host.spec.transport == Transport::Plain,
    })
}

fn by_name(object: &impl ResourceExt) -> PlannedTarget {
    PlannedTarget {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        ..PlannedTarget::default()
    }
}

fn node(node: &Node) -> PlannedTarget {
    let status = node.status.as_ref();
    let info = status.and_then(|status| status.node_info.as_ref());
    PlannedTarget {
        machine: info.map(|info| info.machine_id.clone()).unwrap_or_default(),
        ..by_name(node)
    }
}
