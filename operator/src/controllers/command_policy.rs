//! CommandPolicy: says whether its rules can be used, and has everything looked at anew that they may be about.

use std::{sync::Arc, time::Duration};

use crds::v1alpha1::{
    CommandPlace, CommandPolicy, CommandPolicyStatus, PolicyMode, Verdict, set_condition,
};
use decide::{Refusal, command::Rulebook};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{Controller, controller::Action},
};

use super::valid;
use crate::{
    context::Context,
    doors::LOOK_AGAIN,
    error::{self, Result},
    policies::News,
    report,
};

/// Between two tries to tell the API server.
const SOON: Duration = Duration::from_secs(2);

/// Drives the policies where there can be any.
pub async fn drive(ctx: &Arc<Context>, news: Option<News>) {
    let Some((news, known)) = news else {
        return;
    };
    let all = ctx.clone();
    // Also one that is gone has been about something.
    let news = news.inspect_ok(move |_| {
        all.rules_changed();
        all.doors.changed();
    });
    let turns = Controller::for_stream(news, known).run(reconcile, super::policy, ctx.clone());
    let turns = turns.for_each(async |turn| {
        if let Err(error) = turn {
            tracing::debug!(%error, "a turn ended with an error");
        }
    });
    tokio::join!(turns, ctx.doors.keep(ctx, ctx.policies.known()));
}

async fn reconcile(
    policy: Arc<DeserializeGuard<CommandPolicy>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let policy = valid(&policy)?;
    let book = Rulebook::of(&policy.name_any(), &policy.spec);
    let admitting = admitting(policy, &ctx).await;
    let status = status(policy, &book, admitting.as_ref(), jiff::Timestamp::now());
    if policy.status.as_ref() != Some(&status) {
        let all = Api::all(ctx.client.clone());
        report::status_of(&all, policy, "pilothouse-commandpolicy", &status).await?;
    }
    ctx.succeeded(policy);
    Ok(match admitting {
        Some(verdict) if verdict.status != "True" => Action::requeue(SOON),
        Some(_) => Action::requeue(LOOK_AGAIN),
        None => Action::await_change(),
    })
}

/// Whether the API server asks about what is not a run; nothing of a policy that is not about that.
async fn admitting(policy: &CommandPolicy, ctx: &Context) -> Option<Verdict> {
    let at_the_door = [CommandPlace::PodExec, CommandPlace::Workloads];
    let spec = &policy.spec;
    let asked = spec
        .apply_to
        .iter()
        .any(|place| at_the_door.contains(place));
    if !asked || spec.mode == PolicyMode::Disabled {
        return None;
    }
    let known = ctx.policies.known()?;
    Some(match ctx.doors.tell(ctx, &known).await {
        Ok(()) => Verdict::yes("Admitting", "Asked", ""),
        Err(error) => Verdict::no("Admitting", "NotAsked", error::chain(&error)),
    })
}

fn status(
    policy: &CommandPolicy,
    book: &std::result::Result<Rulebook, Refusal>,
    admitting: Option<&Verdict>,
    now: jiff::Timestamp,
) -> CommandPolicyStatus {
    let generation = policy.metadata.generation;
    let mut status = CommandPolicyStatus {
        observed_generation: generation,
        ..policy.status.clone().unwrap_or_default()
    };
    let counted = |count: usize| Some(i32::try_from(count).unwrap_or(i32::MAX));
    let verdict = match book {
        Ok(book) => {
            let (own, built_in) = book.counts();
            (status.rules, status.built_in_rules) = (counted(own), counted(built_in));
            Verdict::yes("Ready", "Asked", "")
        }
        Err(refusal) => Verdict::no("Ready", refusal.reason, &refusal.message),
    };
    let stalled = match book {
        Ok(_) => Verdict::no("Stalled", "Asked", ""),
        Err(refusal) => Verdict::yes(
            "Stalled",
            refusal.reason,
            "runs of the namespaces that it is about wait",
        ),
    };
    status
        .conditions
        .retain(|c| admitting.is_some() || c.type_ != "Admitting");
    for verdict in [&verdict, &stalled].into_iter().chain(admitting) {
        set_condition(&mut status.conditions, verdict, generation, now);
    }
    status
}
