//! What another run has left, read from its plan and from records.

use crds::v1alpha1::{JobRun, LocalRef};
use decide::{Refusal, again, graph::LaneSpec, ledger::Ledger, plan::PlannedTarget, template};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};

use super::observe;
use crate::{
    context::Context,
    error::{Error, chain},
    resolve::{Gap, unread},
};

/// Takes out of the targets of each lane those that the other run has not left.
pub async fn narrow(
    ctx: &Context,
    run: &JobRun,
    earlier: &LocalRef,
    (lanes, targets): (&[LaneSpec], &mut [Vec<PlannedTarget>]),
    now: Timestamp,
) -> Result<(), Gap> {
    let namespace = run.namespace().unwrap_or_default();
    let runs = Api::<JobRun>::namespaced(ctx.prompt.clone(), &namespace);
    let found = runs.get_opt(&earlier.name).await;
    let found = found.map_err(|e| unread(format!("JobRun {}", earlier.name), e))?;
    let refused = |reason, why: &str| {
        let message = format!("spec.onlyFailedOf: {why} {}", earlier.name);
        Gap::Refused(Refusal::new(reason, message))
    };
    let missing = || refused("EarlierRunNotFound", "there is no JobRun");
    let earlier = found.ok_or_else(missing)?;
    again::of_the_same(run, &earlier).map_err(Gap::Refused)?;
    let left = left(ctx, &earlier, now).await?;
    let forgotten = || {
        let why = "plan or records are not kept any more, and so not what is left, of JobRun";
        refused("EarlierRunForgotten", why)
    };
    let left = left.ok_or_else(forgotten)?;
    for (lane, targets) in lanes.iter().zip(targets) {
        left.keep(lane, targets);
    }
    Ok(())
}

/// What is left of a run; nothing where that is not known any more.
async fn left(ctx: &Context, earlier: &JobRun, now: Timestamp) -> Result<Option<again::Left>, Gap> {
    let kept = match observe::plan_of(ctx, earlier).await {
        Ok(Some(kept)) => kept,
        Ok(None) | Err(Error::PlanChanged { .. } | Error::Invalid(_)) => return Ok(None),
        Err(Error::Observe { what, source }) => return Err(Gap::Failed { what, source }),
        Err(error) => return Err(Gap::Unseen("EarlierRunNotSeen", chain(&error))),
    };
    let (name, namespace) = (earlier.name_any(), earlier.namespace().unwrap_or_default());
    let rows = ctx.records.rows(&earlier.uid().unwrap_or_default()).await;
    let rows = rows.map_err(|e| Gap::Unseen("WaitingForRecords", chain(&e)))?;
    let ledger = Ledger::new(&kept.plan, &rows, |_| false);
    let named = template::Run {
        name: &name,
        namespace: &namespace,
    };
    Ok(again::Left::of(earlier, &kept.plan, named, &ledger, now))
}
