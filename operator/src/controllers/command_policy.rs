//! CommandPolicy: says whether its rules can be used, and has everything looked at anew that they may be about.

use std::sync::Arc;

use crds::v1alpha1::{CommandPolicy, CommandPolicyStatus, Verdict, set_condition};
use decide::{Refusal, command::Rulebook};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{Controller, controller::Action},
};

use super::valid;
use crate::{context::Context, error::Result, policies::News, report};

/// Drives the policies where there can be any.
pub async fn drive(ctx: &Arc<Context>, news: Option<News>) {
    let Some((news, known)) = news else {
        return;
    };
    let all = ctx.clone();
    // Also one that is gone has been about something.
    let news = news.inspect_ok(move |_| all.rules_changed());
    let turns = Controller::for_stream(news, known).run(reconcile, super::policy, ctx.clone());
    turns
        .for_each(async |turn| {
            if let Err(error) = turn {
                tracing::debug!(%error, "a turn ended with an error");
            }
        })
        .await;
}

async fn reconcile(
    policy: Arc<DeserializeGuard<CommandPolicy>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let policy = valid(&policy)?;
    let book = Rulebook::of(&policy.name_any(), &policy.spec);
    let status = status(policy, &book, jiff::Timestamp::now());
    if policy.status.as_ref() != Some(&status) {
        let all = Api::all(ctx.client.clone());
        report::status_of(&all, policy, "pilothouse-commandpolicy", &status).await?;
    }
    ctx.succeeded(policy);
    Ok(Action::await_change())
}

fn status(
    policy: &CommandPolicy,
    book: &std::result::Result<Rulebook, Refusal>,
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
    for verdict in [verdict, stalled] {
        set_condition(&mut status.conditions, &verdict, generation, now);
    }
    status
}
