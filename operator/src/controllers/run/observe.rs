//! What a run's turn sees: its frozen plan, its ledger, and what people did to it.

use std::sync::Arc;

use crds::v1alpha1::{Action, JobRun, RunAction, condition_is_true, find_condition};
use decide::{
    ledger::Ledger,
    plan::{self, Plan},
    run::Control as Decided,
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    context::Context,
    error::{Error, Result, observing},
    work::RunFacts,
};

/// Everything that a turn of a planned run decides on.
pub struct World {
    pub facts: RunFacts,
    pub plan: Arc<Plan>,
    pub plan_name: String,
    pub plan_hash: String,
    pub ledger: Ledger,
    pub control: Control,
}

/// What people did, and which of their actions were not taken in yet.
#[derive(Default)]
pub struct Control {
    pub decided: Decided,
    pub fresh: Vec<RunAction>,
}

impl Control {
    pub fn resumes(&self) -> bool {
        self.fresh.iter().any(|a| a.spec.action == Action::Resume)
    }
}

/// Name of the ControllerRevision that holds a run's plan.
pub fn plan_name(run: &JobRun) -> String {
    let name = run.name_any();
    format!("{}-plan", &name[..name.len().min(248)])
}

/// The frozen plan, if there is one that belongs to this run and is what its status says.
pub async fn plan_of(ctx: &Context, run: &JobRun) -> Result<Option<(Arc<Plan>, String)>> {
    let (uid, name) = (run.uid().unwrap_or_default(), plan_name(run));
    if let Some(plan) = ctx.ledgers.plan(&uid) {
        return Ok(Some((plan, name)));
    }
    let expected = run.status.as_ref().and_then(|s| s.plan_hash.as_ref());
    let api: Api<ControllerRevision> = Api::namespaced(ctx.client.clone(), &run.namespace().unwrap_or_default());
    let found = api.get_opt(&name).await.map_err(observing(format!("ControllerRevision {name}")))?;
    let owned = found.filter(|r| r.owner_references().iter().any(|o| o.uid == uid));
    let Some(stored) = owned.and_then(|r| r.data) else {
        return if expected.is_some() { Err(Error::PlanChanged { name }) } else { Ok(None) };
    };
    if expected.is_some_and(|hash| *hash != plan::hash(&stored.0)) {
        return Err(Error::PlanChanged { name });
    }
    let plan: Plan = serde_json::from_value(stored.0).map_err(|e| Error::Invalid(format!("plan {name}: {e}")))?;
    if !plan.is_coherent() {
        return Err(Error::Invalid(format!("plan {name} is of version {} or does not hang together", plan.version)));
    }
    Ok(Some((Arc::new(plan), name)))
}

/// The world of a planned run. Its ledger is read back from records the first time.
pub async fn world(ctx: &Context, run: &JobRun, plan: Arc<Plan>, plan_name: String, control: Control) -> Result<World> {
    let (uid, namespace) = (run.uid().unwrap_or_default(), run.namespace().unwrap_or_default());
    if ctx.ledgers.plan(&uid).is_none() {
        let rows = ctx.records.rows(&uid).await.map_err(|e| Error::Records(Box::new(e)))?;
        ctx.ledgers.open(&uid, plan.clone(), rows);
    }
    let (_, plan_hash) = plan.seal();
    let facts = RunFacts {
        name: run.name_any(),
        namespace_uid: ctx.namespace_uid(&namespace).await?,
        namespace,
        plan: plan.clone(),
        hash: plan_hash.trim_start_matches("sha256:").to_owned(),
        uid: uid.clone(),
    };
    Ok(World { facts, plan, plan_name, plan_hash, ledger: ctx.ledgers.read(&uid), control })
}

/// What people have asked for, in the order in which they did. What was taken in stands in the run's own status.
pub async fn control(ctx: &Context, run: &JobRun) -> Result<Control> {
    let api: Api<RunAction> = Api::namespaced(ctx.client.clone(), &run.namespace().unwrap_or_default());
    let list = api.list(&ListParams::default()).await.map_err(observing("RunActions"))?;
    let mine = |a: &RunAction| a.spec.run_ref.name == run.name_any() && a.creation_timestamp() >= run.creation_timestamp();
    let taken_in = |a: &RunAction| a.status.as_ref().is_some_and(|s| find_condition(&s.conditions, "Applied").is_some());
    let mut fresh: Vec<_> = list.items.into_iter().filter(mine).filter(|a| !taken_in(a) && a.spec.requested_by.is_some()).collect();
    fresh.sort_by_key(|a| (a.creation_timestamp(), a.name_any()));
    let status = run.status.clone().unwrap_or_default();
    let reason = |type_| find_condition(&status.conditions, type_).map_or("", |c| c.reason.as_str());
    let mut decided = Decided {
        cancel: reason("Running") == "Cancelling" || run.metadata.deletion_timestamp.is_some(),
        suspend: condition_is_true(&status.conditions, "Suspended") && reason("Suspended") == "Asked",
        forgiven: status.forgiven_failures.and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
    };
    for action in &fresh {
        match action.spec.action {
            Action::Cancel => decided.cancel = true,
            Action::Suspend => decided.suspend = true,
            Action::Resume => decided.suspend = false,
        }
    }
    Ok(Control { decided, fresh })
}
