//! Script: keeps every version of its content as an immutable revision.

use std::{sync::Arc, time::Duration};

use crds::{
    names::LABEL_SCRIPT,
    v1alpha1::{Script, ScriptStatus, Verdict, set_condition},
};
use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
    core::DeserializeGuard,
    runtime::controller::Action,
};

use super::valid;
use crate::{
    context::Context,
    error::{Error, Result, acting, observing},
    report,
};

/// Revisions kept of one Script.
const HISTORY: usize = 10;

pub async fn reconcile(script: Arc<DeserializeGuard<Script>>, ctx: Arc<Context>) -> Result<Action> {
    let script = valid(&script)?;
    if script.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let digest = decide::script::digest(&script.spec);
    let turn = turn(script, &ctx, &digest).await;
    let status = status(script, &digest, &turn, jiff::Timestamp::now());
    if script.status.as_ref() != Some(&status) {
        report::status(&ctx.client, script, "pilothouse-script", &status).await?;
    }
    turn?;
    ctx.succeeded(script);
    Ok(Action::requeue(Duration::from_hours(1)))
}

/// The number of the revision that holds the current content.
async fn turn(script: &Script, ctx: &Context, digest: &str) -> Result<i64> {
    let api: Api<ControllerRevision> =
        Api::namespaced(ctx.client.clone(), &script.namespace().unwrap_or_default());
    let name = script.name_any();
    let label = format!("{LABEL_SCRIPT}={name}");
    let list = api
        .list(&ListParams::default().labels(&label))
        .await
        .map_err(observing(format!("revisions of Script {name}")))?;
    let mut revisions = list.items;
    revisions.sort_by_key(|r| r.revision);
    let wanted = decide::script::revision_name(&name, digest);
    if let Some(known) = revisions.iter().find(|r| r.name_any() == wanted) {
        return Ok(known.revision);
    }
    let next = revisions.last().map_or(1, |r| r.revision + 1);
    let created = api
        .create(
            &PostParams::default(),
            &revision(script, wanted.clone(), next),
        )
        .await;
    match created {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {
            return Err(Error::Act {
                what: format!("revision {wanted}"),
                source: Box::new(kube::Error::Api(status)),
            });
        }
        Err(error) => return Err(acting(format!("revision {wanted}"))(error)),
    }
    let old = (revisions.len() + 1).saturating_sub(HISTORY);
    for revision in revisions.iter().take(old) {
        api.delete(&revision.name_any(), &DeleteParams::default())
            .await
            .map_err(acting(format!("revision {}", revision.name_any())))?;
    }
    Ok(next)
}

fn revision(script: &Script, name: String, number: i64) -> ControllerRevision {
    let held = serde_json::json!({"interpreter": script.spec.interpreter, "content": script.spec.content, "parameters": script.spec.parameters});
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some([(LABEL_SCRIPT.to_owned(), script.name_any())].into()),
            owner_references: script.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(held)),
        revision: number,
    }
}

fn status(script: &Script, digest: &str, turn: &Result<i64>, now: jiff::Timestamp) -> ScriptStatus {
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
    status
}
