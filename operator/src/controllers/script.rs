//! Script: keeps every version of its content as an immutable revision, and says what policies and people say of it.

use std::{sync::Arc, time::Duration};

use crds::{
    names::LABEL_SCRIPT,
    v1alpha1::{Script, ScriptSpec, ScriptStatus, SubjectKind, Verdict, set_condition},
};
use decide::{approval::Content, command::Finding};
use kube::{ResourceExt as _, core::DeserializeGuard, runtime::controller::Action};

use super::valid;
use crate::{context::Context, error::Result, report, revisions::Revisions};

/// Revisions kept of one Script.
const HISTORY: usize = 10;

pub async fn reconcile(script: Arc<DeserializeGuard<Script>>, ctx: Arc<Context>) -> Result<Action> {
    let script = valid(&script)?;
    if script.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let digest = decide::script::digest(&script.spec);
    let now = jiff::Timestamp::now();
    let turn = turn(script, &ctx, &digest).await;
    let judged = judged(script, &ctx, &digest, now).await;
    let status = status(script, &digest, (&turn, &judged), now);
    if script.status.as_ref() != Some(&status) {
        report::status(&ctx.client, script, "pilothouse-script", &status).await?;
    }
    turn?;
    judged?;
    ctx.succeeded(script);
    Ok(Action::requeue(Duration::from_hours(1)))
}

/// The number of the revision that holds the current content.
async fn turn(script: &Script, ctx: &Context, digest: &str) -> Result<i64> {
    let revisions = Revisions::new(&ctx.client, script, LABEL_SCRIPT);
    let kept = revisions.kept().await?;
    let wanted = decide::script::revision_name(&script.name_any(), digest);
    if let Some(known) = kept.iter().find(|r| r.name_any() == wanted) {
        return Ok(known.revision);
    }
    let next = kept.last().map_or(1, |r| r.revision + 1);
    let ScriptSpec {
        interpreter,
        content,
        parameters,
        ..
    } = &script.spec;
    let held = serde_json::json!({"interpreter": interpreter, "content": content, "parameters": parameters});
    revisions.keep(&wanted, next, held).await?;
    let old = (kept.len() + 1).saturating_sub(HISTORY);
    for revision in kept.iter().take(old) {
        revisions.forget(revision).await?;
    }
    Ok(next)
}

/// What policies and people say of the current content.
async fn judged(
    script: &Script,
    ctx: &Context,
    digest: &str,
    now: jiff::Timestamp,
) -> Result<Judged> {
    let (namespace, name) = (script.namespace().unwrap_or_default(), script.name_any());
    let books = ctx.policies.books(ctx, &namespace).await?;
    let findings = decide::gate::of_script(&script.spec, &books);
    let approvals = ctx.approvals.within(&namespace, |_| true).await?;
    let writers = script.spec.requested_by.iter().map(|by| by.user.clone());
    let content = Content {
        kind: SubjectKind::Script,
        name: &name,
        step: None,
        digest,
        writers: &writers.collect(),
    };
    let allowed = decide::gate::allowed(&findings, content.decided(&approvals, now));
    Ok((findings, allowed))
}

/// Everything that is found, and whether it keeps the Script from being run.
type Judged = (Vec<Finding>, Verdict);

fn status(
    script: &Script,
    digest: &str,
    (turn, judged): (&Result<i64>, &Result<Judged>),
    now: jiff::Timestamp,
) -> ScriptStatus {
    let mut status = script.status.clone().unwrap_or_default();
    let generation = script.metadata.generation;
    status.observed_generation = generation;
    let verdict = match turn {
        Ok(revision) => {
            status.revision = Some(*revision);
            status.revision_name = Some(decide::script::revision_name(&script.name_any(), digest));
            status.digest = Some(digest.to_owned());
            Verdict::yes("Ready", "Stored", format!("revision {revision}"))
        }
        Err(error) => Verdict::no("Ready", error.category(), crate::error::chain(error)),
    };
    set_condition(&mut status.conditions, &verdict, generation, now);
    let allowed = match judged {
        Ok((findings, allowed)) => {
            status.findings = decide::gate::shown(findings);
            allowed.clone()
        }
        Err(error) => Verdict::unknown("Allowed", error.category(), crate::error::chain(error)),
    };
    set_condition(&mut status.conditions, &allowed, generation, now);
    status
}
