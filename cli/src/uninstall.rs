//! Taking Pilothouse out of a cluster: what runs is ended first, then everything goes that would hold up a deletion. It may be stopped and typed again.

use std::{collections::BTreeSet, time::Duration};

use crds::{
    names::{FINALIZER_CHANGE, FINALIZER_RESULT, FINALIZER_RUN, GROUP, LABEL_RUN_UID},
    v1alpha1::{Action, ChangeTicket, JobRun, Requester, ScheduledTask},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::Pod},
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams,
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    action::Wanted,
    args::UninstallArgs,
    caller,
    cluster::Cluster,
    error::{Error, Result, doing, status},
    output,
    scope::Scope,
};

/// Kinds of the whole cluster that stand at a door, in the order in which they go.
const DOORS: [(&str, &str); 6] = [
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
    ),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("apiregistration.k8s.io", "APIService"),
];
/// Name of the operator's Deployment.
const OPERATOR: &str = "pilothouse-operator";
/// Between two looks at what has not ended yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Objects in one answer.
const PAGE: u32 = 500;

pub async fn uninstall(cluster: &Cluster, asked: &UninstallArgs) -> Result<u8> {
    if !asked.yes {
        return preview(cluster, asked).await.map(|()| 0);
    }
    suspend_schedules(cluster, asked).await?;
    end_runs(cluster, asked).await?;
    let release = stop_operator(cluster, asked).await?;
    let released = let_go(cluster).await?;
    output::text(&format!("{released} finalizers removed\n"))?;
    for (group, kind) in DOORS {
        remove(cluster, group, kind, is_of_the_charts).await?;
    }
    if asked.crds {
        let kind = "CustomResourceDefinition";
        remove(cluster, "apiextensions.k8s.io", kind, is_of_our_group).await?;
    }
    output::text(&farewell(asked, release.as_deref()))?;
    Ok(0)
}

async fn preview(cluster: &Cluster, asked: &UninstallArgs) -> Result<()> {
    let runs = unfinished(cluster, &scope(cluster, asked).await?).await?;
    let kinds = if asked.crds {
        "and the kinds with every object of theirs"
    } else {
        "and keeps the kinds and their objects"
    };
    output::text(&format!(
        "This suspends every ScheduledTask, cancels {} runs that have not ended, stops the operator, removes finalizers, admission webhooks and policies, and the APIService of records, {kinds}.\nGive --yes to do it.\n",
        runs.len()
    ))
}

/// Suspends what would start new runs meanwhile, and after Pilothouse has come back.
async fn suspend_schedules(cluster: &Cluster, asked: &UninstallArgs) -> Result<()> {
    let by = caller::requester(cluster).await?;
    let scope = scope(cluster, asked).await?;
    let mut tasks = every::<ScheduledTask>(cluster, &ListParams::default()).await?;
    tasks.retain(|task| !task.spec.suspend && task.meta().deletion_timestamp.is_none());
    tasks.retain(|task| scope.holds(&task.namespace().unwrap_or_default()));
    for task in tasks {
        let (namespace, name) = (task.namespace().unwrap_or_default(), task.name_any());
        let title = format!("ScheduledTask {namespace}/{name}");
        output::text(&format!("suspending {title}\n"))?;
        let api = Api::<ScheduledTask>::namespaced(cluster.client.clone(), &namespace);
        let patch = Patch::Merge(json!({"spec": {"suspend": true, "requestedBy": by}}));
        match api.patch(&name, &PatchParams::default(), &patch).await {
            Err(error) if status(&error) == Some(404) => {}
            patched => drop(patched.map_err(doing(format!("suspend {title}")))?),
        }
    }
    Ok(())
}

/// Cancels what has not ended and waits for it, so that nothing is left going on a host.
async fn end_runs(cluster: &Cluster, asked: &UninstallArgs) -> Result<()> {
    let by = caller::requester(cluster).await?;
    let scope = scope(cluster, asked).await?;
    let deadline = Instant::now() + asked.timeout.get();
    let mut told = BTreeSet::new();
    loop {
        let runs = unfinished(cluster, &scope).await?;
        if runs.is_empty() {
            return Ok(());
        }
        for run in &runs {
            if told.insert(run.uid()) {
                output::text(&format!("cancelling {}\n", title(run)))?;
                cancel(cluster, run, &by).await?;
            }
        }
        if Instant::now() >= deadline {
            let left: Vec<_> = runs.iter().map(title).collect();
            if asked.force {
                output::text(&format!(
                    "not ended, left as they are: {}\n",
                    left.join(", ")
                ))?;
                return Ok(());
            }
            return Err(Error::StillGoing {
                runs: left.join(", "),
            });
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Runs that have not ended, of the namespaces that are served: nobody ends the others.
async fn unfinished(cluster: &Cluster, scope: &Scope) -> Result<Vec<JobRun>> {
    let mut runs = every::<JobRun>(cluster, &ListParams::default()).await?;
    runs.retain(|run| !run.is_finished() && scope.holds(&run.namespace().unwrap_or_default()));
    Ok(runs)
}

/// What the operator serves.
async fn scope(cluster: &Cluster, asked: &UninstallArgs) -> Result<Scope> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &asked.system_namespace);
    let operator = api.get_opt(OPERATOR).await;
    let operator = operator.map_err(doing("look at the operator"))?;
    Ok(operator.as_ref().map(Scope::of).unwrap_or_default())
}

async fn cancel(cluster: &Cluster, run: &JobRun, by: &Requester) -> Result<()> {
    let reason = Some("Pilothouse is being uninstalled".to_owned());
    let action = Wanted::just(Action::Cancel).on(&run.name_any(), reason, by.clone());
    let api = Api::namespaced(cluster.client.clone(), &run.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), &action).await {
        // A namespace that is on its way out takes nothing new; its run is deleted, which cancels it too.
        Err(error) if run.meta().deletion_timestamp.is_some() || status(&error) == Some(404) => {
            Ok(())
        }
        created => created
            .map(|_| ())
            .map_err(doing(format!("cancel {}", title(run)))),
    }
}

/// Scales the operator to none and waits until it is gone, so that it puts nothing back; the Helm release that it is of.
async fn stop_operator(cluster: &Cluster, asked: &UninstallArgs) -> Result<Option<String>> {
    let system = &asked.system_namespace;
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), system);
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    let scaled = match api.patch(OPERATOR, &PatchParams::default(), &none).await {
        Err(error) if status(&error) == Some(404) => return Ok(None),
        scaled => scaled.map_err(doing("scale the operator to none"))?,
    };
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), system);
    let operators = ListParams::default()
        .labels("app.kubernetes.io/name=pilothouse,app.kubernetes.io/component=operator");
    let deadline = Instant::now() + asked.timeout.get();
    loop {
        let left = pods.list_metadata(&operators).await;
        let left = left.map_err(doing("look for the operator"))?.items.len();
        if left == 0 {
            output::text("the operator has ended\n")?;
            return Ok(scaled
                .annotations()
                .get("meta.helm.sh/release-name")
                .cloned());
        }
        if Instant::now() >= deadline {
            return Err(Error::OperatorStays(left));
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Takes our finalizers off runs, step pods and tickets; how many there were.
async fn let_go(cluster: &Cluster) -> Result<usize> {
    let runs = every::<JobRun>(cluster, &ListParams::default()).await?;
    let pods = every::<Pod>(cluster, &ListParams::default().labels(LABEL_RUN_UID)).await?;
    let tickets = every::<ChangeTicket>(cluster, &ListParams::default()).await?;
    let mut released = 0;
    for run in runs {
        released += take_off(cluster, &run, FINALIZER_RUN).await?;
    }
    for pod in pods {
        released += take_off(cluster, &pod, FINALIZER_RESULT).await?;
    }
    for ticket in tickets {
        released += take_off(cluster, &ticket, FINALIZER_CHANGE).await?;
    }
    Ok(released)
}

async fn take_off<K>(cluster: &Cluster, object: &K, finalizer: &str) -> Result<usize>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let has = |f: &&String| *f != finalizer;
    let rest: Vec<_> = object.finalizers().iter().filter(has).collect();
    if rest.len() == object.finalizers().len() {
        return Ok(0);
    }
    let patch = Patch::Merge(json!({"metadata": {"uid": object.uid(), "finalizers": rest}}));
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(cluster.client.clone(), &namespace);
    let name = object.name_any();
    match api.patch(&name, &PatchParams::default(), &patch).await {
        // It went by itself.
        Err(error) if status(&error) == Some(404) => Ok(0),
        patched => patched
            .map(|_| 1)
            .map_err(doing(format!("take {finalizer} off {namespace}/{name}"))),
    }
}

/// Every object of a kind, in the whole cluster; none where the kind is no longer served.
async fn every<K>(cluster: &Cluster, wanted: &ListParams) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::all(cluster.client.clone());
    let (mut all, mut params) = (Vec::new(), wanted.clone().limit(PAGE));
    loop {
        let page = match api.list(&params).await {
            Err(error) if status(&error) == Some(404) => return Ok(all),
            page => page.map_err(doing(format!("list {}", K::plural(&()))))?,
        };
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

/// Deletes those objects of a kind of the whole cluster that are ours.
async fn remove(
    cluster: &Cluster,
    group: &str,
    kind: &str,
    is_ours: fn(&DynamicObject) -> bool,
) -> Result<()> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    let api: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
    let all = match api.list(&ListParams::default()).await {
        Err(error) if status(&error) == Some(404) => return Ok(()),
        all => all.map_err(doing(format!("list {}", resource.plural)))?,
    };
    for object in all.into_iter().filter(is_ours) {
        let name = object.name_any();
        match api.delete(&name, &DeleteParams::default()).await {
            Err(error) if status(&error) == Some(404) => {}
            removed => {
                removed.map_err(doing(format!("delete {kind} {name}")))?;
                output::text(&format!("{kind} {name} removed\n"))?;
            }
        }
    }
    Ok(())
}

fn is_of_the_charts(object: &DynamicObject) -> bool {
    let part_of = object.labels().get("app.kubernetes.io/part-of");
    part_of.is_some_and(|whole| whole == "pilothouse")
}

fn is_of_our_group(object: &DynamicObject) -> bool {
    object.data["spec"]["group"] == GROUP
}

fn title(run: &JobRun) -> String {
    format!(
        "JobRun {}/{}",
        run.namespace().unwrap_or_default(),
        run.name_any()
    )
}

/// What is left to do, as lines to copy.
fn farewell(asked: &UninstallArgs, release: Option<&str>) -> String {
    let system = &asked.system_namespace;
    let mut lines = vec!["What is left is the releases:".to_owned(), String::new()];
    if let Some(release) = release {
        lines.push(format!("  helm uninstall {release} -n {system}"));
    }
    if asked.crds {
        lines.push(format!("  helm uninstall pilothouse-crds -n {system}"));
    } else {
        lines.push(format!(
            "  kubectl get crds | grep {GROUP}    # kept, with every object; --crds removes them"
        ));
    }
    lines.push(format!(
        "  kubectl delete namespace {system}    # and with it the volume of the records"
    ));
    lines.join("\n") + "\n"
}
