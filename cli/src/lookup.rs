//! Looks up what a run of a Job would find, as the operator does for a run, but with the caller's own rights.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    Host, Job, JobSpec, ObjectTargets, Script, SecretKeyRef, Transport, WorkloadKind,
};
use decide::{
    Limits, Refusal,
    calls::{Contents, Jobs, Scripts, Unread, Written},
    freeze::{Findings, freeze},
    graph::{self, LaneSpec},
    kept::Store,
    parameters::{self, Values},
    plan::{FileSource, Plan, PlannedTarget, SecretSource},
    secret, template,
};
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{ConfigMap, Node, Pod, Secret},
    },
};
use kube::{Api, Resource, ResourceExt as _, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{
    cluster::Cluster,
    error::{Error, Result, doing, status},
    kept,
    parameters::Given,
};

/// The schema's own ceilings; what the installation allows below them is its secret.
const CEILINGS: Limits = Limits {
    targets: 2000,
    parameters: 300,
};

/// What a run of the Job is asked to be.
pub struct Wanted<'a> {
    pub job_name: &'a str,
    pub job: &'a JobSpec,
    pub account: &'a str,
    pub given: &'a Given,
    /// Name and namespace that templates see.
    pub run: template::Run<'a>,
}

/// A plan that nobody has frozen, and what could not be checked while it was made.
pub struct Preview {
    pub plan: Plan,
    pub notes: Vec<String>,
}

/// The plan that a run would get now, or the refusal that it would meet.
pub async fn preview(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<Preview> {
    let job = wanted.job;
    let mut store = kept::of_run(cluster, job, wanted.given).await?;
    let jobs = jobs(cluster, job, &mut store).await?;
    let values = parameters::resolve(&job.parameters, &wanted.given.values(), &store)
        .map_err(Error::Refused)?;
    graph::order(&job.steps).map_err(Error::Refused)?;
    let (lanes, _) = graph::lanes(job).map_err(Error::Refused)?;
    let mut targets = Vec::with_capacity(lanes.len());
    for spec in &lanes {
        targets.push(lane(cluster, spec).await?);
    }
    let mut notes = Vec::new();
    let found = Findings {
        job_name: wanted.job_name,
        job,
        account: wanted.account,
        run: wanted.run,
        reached: Contents {
            scripts: scripts(cluster, job).await?,
            jobs,
            kept: store,
        },
        revision: None,
        secrets: secrets(cluster, &values, &mut notes).await?,
        files: files(cluster, job, &mut notes).await?,
        values,
        targets,
    };
    // A preview is of no moment, so that two of the same things have the same digest.
    let plan = freeze(&found, &CEILINGS, Timestamp::UNIX_EPOCH).map_err(Error::Refused)?;
    notes.extend(over(&plan, job));
    Ok(Preview { plan, notes })
}

fn over(plan: &Plan, job: &JobSpec) -> Vec<String> {
    let usual = Limits::default();
    let counts = [
        (plan.total(), usual.targets, "targets"),
        (job.parameters.len(), usual.parameters, "parameters"),
    ];
    let over = counts.iter().filter(|(count, limit, _)| count > limit);
    over.map(|(count, limit, what)| format!("{count} {what} are more than the usual limit of {limit}; the run is refused unless the installation raises operator.limits.{what}")).collect()
}

async fn lane(cluster: &Cluster, spec: &LaneSpec) -> Result<Vec<PlannedTarget>> {
    match spec {
        LaneSpec::Once => Ok(vec![PlannedTarget::default()]),
        LaneSpec::Hosts(wanted) => Ok(objects::<Host>(cluster, "Host", wanted)
            .await?
            .iter()
            .map(host)
            .collect()),
        LaneSpec::Pods(wanted) => {
            let pods = objects::<Pod>(cluster, "Pod", wanted).await?;
            Ok(pods
                .iter()
                .filter(|p| wanted.selector.is_none() || is_running(p))
                .map(by_name)
                .collect())
        }
        LaneSpec::Nodes(wanted) => {
            let nodes = Api::<Node>::all(cluster.client.clone());
            let nodes = found(nodes, "Node", "the cluster", wanted).await?;
            Ok(nodes.iter().map(by_name).collect())
        }
        LaneSpec::Workloads(wanted) => {
            let of = wanted.objects();
            match wanted.kind {
                WorkloadKind::Deployment => named::<Deployment>(cluster, "Deployment", &of).await,
                WorkloadKind::StatefulSet => {
                    named::<StatefulSet>(cluster, "StatefulSet", &of).await
                }
                WorkloadKind::DaemonSet => named::<DaemonSet>(cluster, "DaemonSet", &of).await,
            }
        }
    }
}

async fn named<K>(
    cluster: &Cluster,
    kind: &str,
    wanted: &ObjectTargets,
) -> Result<Vec<PlannedTarget>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let found = objects::<K>(cluster, kind, wanted).await?;
    Ok(found.iter().map(by_name).collect())
}

async fn objects<K>(cluster: &Cluster, kind: &str, wanted: &ObjectTargets) -> Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let place = format!("namespace {}", cluster.namespace);
    found(cluster.api::<K>(), kind, &place, wanted).await
}

async fn found<K>(api: Api<K>, kind: &str, place: &str, wanted: &ObjectTargets) -> Result<Vec<K>>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    if let Some(selector) = &wanted.selector {
        let list = api
            .list(&ListParams::default().labels(&selector.query()))
            .await;
        let mut found = list
            .map_err(doing(format!("list {kind}s as targets")))?
            .items;
        found.sort_by_key(kube::ResourceExt::name_any);
        return Ok(found);
    }
    let mut found = Vec::with_capacity(wanted.names.len());
    for name in &wanted.names {
        let one = api
            .get_opt(name)
            .await
            .map_err(doing(format!("read {kind} {name} as a target")))?;
        found.push(one.ok_or_else(|| missing("TargetNotFound", format!("targets name {kind} {name}, which is not in {place}; correct the name or create it")))?);
    }
    Ok(found)
}

/// Jobs that the job runs, however far, and the Parameters that their values come from.
async fn jobs(cluster: &Cluster, job: &JobSpec, store: &mut Store) -> Result<Jobs> {
    let mut found = Jobs::new();
    let mut unread = Unread::of(job);
    while let Some(name) = unread.next() {
        let job = cluster.api::<Job>().get_opt(&name).await;
        if let Some(job) = job.map_err(doing(format!("read Job {name}")))? {
            unread.read(&job.spec);
            kept::read(cluster, decide::kept::named(&job.spec), store).await?;
            let scripts = scripts(cluster, &job.spec).await?;
            let job = job.spec;
            found.insert(name, Written { job, scripts });
        }
    }
    Ok(found)
}

/// The Scripts that steps name; `freeze` refuses those that are not there.
async fn scripts(cluster: &Cluster, job: &JobSpec) -> Result<Scripts> {
    let mut found = BTreeMap::new();
    for name in job
        .all_steps()
        .filter_map(|s| s.script.as_ref())
        .map(|s| &s.name)
    {
        if found.contains_key(name) {
            continue;
        }
        let script = cluster
            .api::<Script>()
            .get_opt(name)
            .await
            .map_err(doing(format!("read Script {name}")))?;
        if let Some(script) = script {
            let digest = decide::script::digest(&script.spec);
            found.insert(name.clone(), (script.spec, digest));
        }
    }
    Ok(found)
}

/// Where secret parameters are. Whoever plans need not be allowed to read them; the run's account is.
async fn secrets(
    cluster: &Cluster,
    values: &Values,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, SecretSource>> {
    let mut found = BTreeMap::new();
    for (parameter, place) in &values.secret {
        let source = match cluster.api::<Secret>().get_opt(&place.name).await {
            Ok(secret) => Some(source(cluster, parameter, place, secret)?),
            Err(error) if status(&error) == Some(403) => None,
            Err(error) => return Err(doing(format!("read Secret {}", place.name))(error)),
        };
        if source.is_none() {
            notes.push(format!("parameter {parameter}: you may not read Secret {}, so it was not checked that it holds key {}", place.name, place.key));
        }
        found.insert(parameter.clone(), source.unwrap_or_else(|| unseen(place)));
    }
    Ok(found)
}

/// Objects that hold files; whether they have the key is seen when the run is planned.
async fn files(
    cluster: &Cluster,
    job: &JobSpec,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, FileSource>> {
    let mut found = BTreeMap::new();
    for (step, file) in job
        .all_steps()
        .filter_map(|s| Some((&s.name, s.file.as_ref()?)))
    {
        let source = match (&file.config_map, &file.secret) {
            (Some(place), _) => held::<ConfigMap>(cluster, "ConfigMap", &place.name).await?,
            (_, Some(place)) => {
                let held = held::<Secret>(cluster, "Secret", &place.name).await?;
                let uid = held.as_ref().map(|held| held.uid.as_str());
                if uid.is_some() {
                    let field = format!("step {step}: file");
                    secret::is_meant(&field, place, uid).map_err(Error::Refused)?;
                }
                held
            }
            _ => continue,
        };
        if source.is_none() {
            notes.push(format!("step {step}: you may not read what holds its file, so it was not checked that it is there"));
        }
        found.insert(step.clone(), source.unwrap_or_default());
    }
    Ok(found)
}

/// An object that is there; none where the caller may not see it.
async fn held<K>(cluster: &Cluster, kind: &str, name: &str) -> Result<Option<FileSource>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let found = match cluster.api::<K>().get_opt(name).await {
        Ok(found) => found,
        Err(error) if status(&error) == Some(403) => return Ok(None),
        Err(error) => return Err(doing(format!("read {kind} {name}"))(error)),
    };
    let found = found.ok_or_else(|| {
        let namespace = &cluster.namespace;
        let message = format!(
            "there is no {kind} {name} in namespace {namespace}; create it or correct the name"
        );
        missing("FileNotFound", message)
    })?;
    Ok(Some(FileSource {
        uid: found.uid().unwrap_or_default(),
        resource_version: found.resource_version().unwrap_or_default(),
    }))
}

fn source(
    cluster: &Cluster,
    parameter: &str,
    place: &SecretKeyRef,
    secret: Option<Secret>,
) -> Result<SecretSource> {
    let (name, key) = (&place.name, &place.key);
    let Some(secret) = secret else {
        return Err(missing(
            "MissingSecret",
            format!(
                "parameter {parameter}: there is no Secret {name} in namespace {}; create it or correct the name",
                cluster.namespace
            ),
        ));
    };
    if !secret
        .data
        .as_ref()
        .is_some_and(|data| data.contains_key(key))
    {
        return Err(missing(
            "MissingSecretKey",
            format!(
                "parameter {parameter}: Secret {name} has no key {key}; add it or correct the key"
            ),
        ));
    }
    let field = format!("parameter {parameter}");
    let (uid, resource_version) = (
        secret.uid().unwrap_or_default(),
        secret.resource_version().unwrap_or_default(),
    );
    secret::is_meant(&field, place, Some(&uid)).map_err(Error::Refused)?;
    Ok(SecretSource {
        uid,
        resource_version,
        ..unseen(place)
    })
}

fn unseen(place: &SecretKeyRef) -> SecretSource {
    SecretSource {
        name: place.name.clone(),
        key: place.key.clone(),
        uid: String::new(),
        resource_version: String::new(),
    }
}

fn missing(reason: &'static str, message: String) -> Error {
    Error::Refused(Refusal::new(reason, message))
}

fn host(host: &Host) -> PlannedTarget {
    let facts = host.status.as_ref().and_then(|s| s.facts.as_ref());
    PlannedTarget {
        name: host.name_any(),
        uid: host.uid().unwrap_or_default(),
        address: host.spec.address.clone(),
        machine: facts.map(|f| f.machine_id.clone()).unwrap_or_default(),
        node: host.spec.node_name.clone().unwrap_or_default(),
        plain: host.spec.transport == Transport::Plain,
    }
}

fn by_name(object: &impl kube::ResourceExt) -> PlannedTarget {
    PlannedTarget {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        ..PlannedTarget::default()
    }
}

fn is_running(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
}
