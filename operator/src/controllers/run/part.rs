//! A run that is a part of another: whose part it is, and what it waits for before it goes.

use crds::{names::ANNOTATION_EFFECT, v1alpha1::JobRun};
use kube::{Api, Resource as _, ResourceExt as _};

use crate::{
    context::Context,
    error::{Result, observing},
};

/// UIDs of the runs that it is a part of, the nearest first.
pub fn family(run: &JobRun) -> Vec<String> {
    let runs = run.spec.on_behalf_of.iter();
    let runs = runs.filter(|origin| origin.kind == JobRun::kind(&()));
    runs.map(|origin| origin.uid.clone()).collect()
}

/// Whether the run that it is a part of, if that still goes on, has written down how this one ended.
pub async fn is_known(ctx: &Context, run: &JobRun) -> Result<bool> {
    let nearest = run.spec.on_behalf_of.first();
    let whole = nearest.filter(|origin| origin.kind == JobRun::kind(&()));
    let (Some(whole), Some(effect)) = (whole, run.annotations().get(ANNOTATION_EFFECT)) else {
        return Ok(true);
    };
    let row = ctx.memory.ledgers.row(&whole.uid, effect);
    if row.is_some_and(|row| row.state.is_terminal()) {
        return Ok(true);
    }
    let runs = Api::<JobRun>::namespaced(ctx.client.clone(), &run.namespace().unwrap_or_default());
    let there = runs.get_opt(&whole.name).await;
    let there = there.map_err(observing(format!("JobRun {}", whole.name)))?;
    let goes_on = |whole_there: &JobRun| {
        whole_there.uid().as_ref() == Some(&whole.uid) && !whole_there.is_finished()
    };
    Ok(!there.as_ref().is_some_and(goes_on))
}
