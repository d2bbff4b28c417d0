//! RunActions: those about a run, and those by which the operator acts on one.

use crds::v1alpha1::{Action, JobRun, LocalRef, RunAction, RunActionSpec};
use kube::{Api, Resource as _, ResourceExt as _, api::PostParams};

use crate::{
    context::Context,
    error::{Result, acting, observing},
    heard::Heard,
};

/// Those about a run, in no order.
pub async fn about(known: &Heard<RunAction>, run: &JobRun) -> Result<Vec<RunAction>> {
    let about = |action: &RunAction| {
        action.spec.run_ref.name == run.name_any()
            && action.creation_timestamp() >= run.creation_timestamp()
    };
    known
        .within(&run.namespace().unwrap_or_default(), about)
        .await
}

/// Has a run cancelled, once for each such word.
pub async fn cancel(ctx: &Context, run: &JobRun, word: &str, because: &str) -> Result<()> {
    once(ctx, run, Action::Cancel, word, because).await
}

/// Does something to a run that takes no more words, once for each such word.
pub async fn once(
    ctx: &Context,
    run: &JobRun,
    action: Action,
    word: &str,
    because: &str,
) -> Result<()> {
    let name = run.name_any();
    let spec = RunActionSpec {
        run_ref: LocalRef { name: name.clone() },
        action,
        step: None,
        max_parallel: None,
        reason: Some(because.to_owned()),
        requested_by: Some(ctx.me.clone()),
    };
    let name = format!("{name}-{word}");
    let mut wanted = RunAction::new(&name, spec);
    wanted.metadata.owner_references = run.controller_owner_ref(&()).map(|owner| vec![owner]);
    let namespace = run.namespace().unwrap_or_default();
    let api = Api::<RunAction>::namespaced(ctx.client.clone(), &namespace);
    let written = acting(format!("RunAction {name}"));
    match api.create(&PostParams::default(), &wanted).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(written(error)),
    }
    let there = api.get_opt(&name).await;
    let there = there.map_err(observing(format!("RunAction {name}")))?;
    if there.is_some_and(|there| does(&there, action, run)) {
        return Ok(());
    }
    // Somebody has taken the name for something else.
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some(format!("{name}-"));
    let made = api.create(&PostParams::default(), &wanted).await;
    made.map(drop).map_err(written)
}

fn does(there: &RunAction, action: Action, run: &JobRun) -> bool {
    there.spec.action == action
        && there.spec.run_ref.name == run.name_any()
        && there.creation_timestamp() >= run.creation_timestamp()
}
