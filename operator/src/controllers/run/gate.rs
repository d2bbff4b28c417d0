//! Asks before a run begins: CommandPolicies about its commands, and people about what these hold.

use crds::v1alpha1::JobRun;
use decide::gate::{self, Answer, Question};
use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};

use super::{News, observe::Kept};
use crate::{context::Context, error::Result, metrics::CommandFound};

/// What keeps a run from beginning; or the warnings that it begins with.
pub async fn ask(
    ctx: &Context,
    run: &JobRun,
    kept: &Kept,
    now: Timestamp,
) -> Result<std::result::Result<Vec<String>, News>> {
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    let books = ctx.policies.books(ctx, &namespace).await?;
    let found = gate::findings(&kept.plan, &books);
    if found.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let approvals = ctx.approvals.within(&namespace, |_| true).await?;
    let asked = Question {
        run: &name,
        plan: &kept.plan,
        hash: &kept.hash,
        approvals: &approvals,
        now,
    };
    match gate::answer(&asked, &found) {
        Answer::Open(warnings) => {
            for found in &found {
                let finding = &found.finding;
                ctx.metrics
                    .commands
                    .get_or_create(&CommandFound::of(finding))
                    .inc();
            }
            Ok(Ok(warnings))
        }
        Answer::Held(message) => {
            ctx.awaiting.note(&namespace, &name);
            let reason = "AwaitingApproval";
            Ok(Err(News::Waiting { reason, message }))
        }
        Answer::Never(refusal) => Ok(Err(News::Refused(refusal))),
    }
}

/// Tells of what was let through with a warning.
pub async fn warn(ctx: &Context, run: &JobRun, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    let note = warnings.join("; and ");
    let about = run.object_ref(&());
    ctx.events
        .tell(&about, true, "CommandWarned", "Begin", &note)
        .await;
}
