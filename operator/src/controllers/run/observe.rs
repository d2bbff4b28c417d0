//! What a run's turn sees: its frozen plan, its ledger, and what people did to it.

use std::sync::Arc;

use crds::{
    names::LABEL_RUN,
    v1alpha1::{Action, ActionTaken, JobRun, RunAction, find_condition},
};
use decide::{
    Refusal,
    control::{Control as Decided, Taken},
    ledger::Ledger,
    lock::Claim,
    plan::{self, Plan},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::ControllerRevision,
    apimachinery::pkg::{apis::meta::v1::Time, runtime::RawExtension},
};
use kube::{Api, ResourceExt as _};

use super::part;
use crate::{
    actions,
    context::Context,
    error::{Error, Result, observing},
    revisions,
    work::RunFacts,
};

/// A plan and where it is kept.
#[derive(Clone)]
pub struct Kept {
    pub plan: Arc<Plan>,
    pub name: String,
    pub hash: String,
}

/// What people did, and what becomes of those of their actions that no status tells of yet.
#[derive(Default)]
pub struct Control {
    pub decided: Decided,
    /// Actions of this turn, each taken in or refused.
    pub fresh: Vec<(RunAction, Result<(), Refusal>)>,
}

impl Control {
    /// The threshold counts anew.
    pub fn resumes(&self, run: &JobRun) -> bool {
        let resuming = [Action::Resume, Action::RetryFailed, Action::ResumeFrom];
        let mut taken = self.taken(run).into_iter();
        taken.any(|taken| resuming.contains(&taken.action))
    }

    /// What the run's status tells of those that were taken in, and does not yet.
    pub fn taken(&self, run: &JobRun) -> Vec<ActionTaken> {
        let taken = self.fresh.iter().filter(|(_, verdict)| verdict.is_ok());
        let news = taken.filter(|(action, _)| !is_told(run, action));
        news.map(|(action, _)| told(action)).collect()
    }
}

/// Whether the run's status tells of an action: it was taken in by a turn that did not get to say so on the action.
fn is_told(run: &JobRun, action: &RunAction) -> bool {
    let uid = action.uid().unwrap_or_default();
    let mut told = run.status.iter().flat_map(|s| &s.actions);
    told.any(|taken| taken.uid == uid)
}

fn told(action: &RunAction) -> ActionTaken {
    let spec = &action.spec;
    ActionTaken {
        uid: action.uid().unwrap_or_default(),
        action: spec.action,
        step: spec.step.clone(),
        max_parallel: spec.max_parallel,
        by: spec.requested_by.clone().unwrap_or_default().user,
        at: action
            .creation_timestamp()
            .unwrap_or(Time(Timestamp::UNIX_EPOCH)),
        reason: spec.reason.clone(),
    }
}

/// Name of the ControllerRevision that holds a run's plan.
pub fn plan_name(run: &JobRun) -> String {
    let name = run.name_any();
    format!("{}-plan", &name[..name.len().min(248)])
}

/// The frozen plan, if there is one that belongs to this run and is what its status says.
pub async fn plan_of(ctx: &Context, run: &JobRun) -> Result<Option<Kept>> {
    let (uid, name) = (run.uid().unwrap_or_default(), plan_name(run));
    if let Some((plan, hash)) = ctx.memory.ledgers.plan(&uid) {
        return Ok(Some(Kept { plan, name, hash }));
    }
    let Some(expected) = run.status.as_ref().and_then(|s| s.plan_hash.as_ref()) else {
        // One that no status tells of yet is found when it is stored once more.
        return Ok(None);
    };
    let api: Api<ControllerRevision> =
        Api::namespaced(ctx.client.clone(), &run.namespace().unwrap_or_default());
    let found = api
        .get_opt(&name)
        .await
        .map_err(observing(format!("ControllerRevision {name}")))?;
    let owned = found.filter(|r| revisions::is_of(r, LABEL_RUN, run));
    let stored = owned.and_then(|r| r.data);
    match stored.filter(|stored| plan::hash(&stored.0) == *expected) {
        Some(stored) => kept(stored, name).map(Some),
        None => Err(Error::PlanChanged { name }),
    }
}

/// The plan that a revision of this name holds.
pub fn kept(stored: RawExtension, name: String) -> Result<Kept> {
    let hash = plan::hash(&stored.0);
    let plan: Plan = serde_json::from_value(stored.0)
        .map_err(|e| Error::Invalid(format!("plan {name}: {e}")))?;
    if !plan.is_coherent() {
        return Err(Error::Invalid(format!(
            "plan {name} is of version {} or does not hang together",
            plan.version
        )));
    }
    Ok(Kept {
        plan: Arc::new(plan),
        name,
        hash,
    })
}

/// The ledger of a planned run. It is read back from records the first time.
pub async fn ledger(ctx: &Context, run: &JobRun, kept: &Kept) -> Result<Ledger> {
    let uid = run.uid().unwrap_or_default();
    if ctx.memory.ledgers.plan(&uid).is_none() {
        let rows = ctx
            .records
            .rows(&uid)
            .await
            .map_err(|e| Error::Records(Box::new(e)))?;
        let sealed = (kept.plan.clone(), kept.hash.clone());
        ctx.memory.ledgers.open(&uid, sealed, rows);
    }
    Ok(ctx.memory.ledgers.read(&uid))
}

/// What workers need to know of the run.
pub async fn facts(ctx: &Context, run: &JobRun, kept: &Kept) -> Result<RunFacts> {
    let namespace = run.namespace().unwrap_or_default();
    Ok(RunFacts {
        name: run.name_any(),
        namespace_uid: ctx
            .namespaces
            .of_run(&run.uid().unwrap_or_default(), &namespace)
            .await?,
        namespace,
        cluster: kept.plan.cluster.as_ref().unwrap_or(&ctx.cluster).clone(),
        plan: kept.plan.clone(),
        hash: kept.hash.trim_start_matches("sha256:").to_owned(),
        uid: run.uid().unwrap_or_default(),
        place: ctx.traces.place(run),
    })
}

/// What people have asked for, in the order in which they did. What was taken in stands in the run's own status.
pub async fn control(
    ctx: &Context,
    run: &JobRun,
    plan: Option<&Plan>,
    ledger: Option<&Ledger>,
) -> Result<Control> {
    let taken_in = |a: &RunAction| {
        a.status
            .as_ref()
            .is_some_and(|s| find_condition(&s.conditions, "Applied").is_some())
    };
    let mut fresh = actions::about(&ctx.actions, run).await?;
    fresh.retain(|a| !taken_in(a) && a.spec.requested_by.is_some());
    // Creation times are whole seconds; the API server counts versions in the order of writes.
    fresh.sort_by_key(|a| a.resource_version().and_then(|v| v.parse::<u64>().ok()));
    let mut control = Control {
        decided: Decided::of(run.status.as_ref(), plan),
        fresh: Vec::new(),
    };
    control.decided.cancel |= run.metadata.deletion_timestamp.is_some();
    control.decided.suspended_above = ctx.memory.claims.is_suspended(&part::family(run));
    for action in fresh {
        if is_told(run, &action) {
            control.fresh.push((action, Ok(())));
            continue;
        }
        match control.decided.take_in(&action.spec, plan.zip(ledger)) {
            Taken::Now => control.fresh.push((action, Ok(()))),
            Taken::Never(refusal) => control.fresh.push((action, Err(refusal))),
            Taken::Later => {}
        }
    }
    Ok(control)
}

/// A run that somebody removed by force, finalizer and all, gives its machines back here.
pub async fn still_there(ctx: &Context, other: &Claim) -> Result<()> {
    let runs: Api<JobRun> = Api::namespaced(ctx.client.clone(), &other.namespace);
    let found = runs
        .get_opt(&other.name)
        .await
        .map_err(observing(format!("JobRun {}", other.name)))?;
    if found.and_then(|run| run.uid()).as_ref() != Some(&other.uid) {
        ctx.release(&other.uid);
    }
    Ok(())
}
