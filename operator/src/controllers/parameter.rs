//! Parameter: keeps every value as a version, and says who reads it and whether its twins hold the same.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crds::{
    names::LABEL_PARAMETER,
    v1alpha1::{
        Parameter, ParameterStatus, ParameterUser, ParameterVersion, Requester, Twin,
        find_condition,
    },
};
use decide::{
    Refusal,
    kept::{self, Version},
    parameter::{self, Found, Likeness},
};
use k8s_openapi::{
    api::{apps::v1::ControllerRevision, authorization::v1::ResourceAttributes},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Resource as _, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};

use super::valid;
use crate::{
    context::Context,
    entitled,
    error::{Result, chain},
    report,
    revisions::{self, Revisions},
    scope,
};

/// Turns of one that has twins, since those of another part of the scope tell nobody when they change.
const TWINS: Duration = Duration::from_mins(1);

/// Has a Parameter looked at when one that is to hold the same was written.
pub fn following(
    parameters: Controller<DeserializeGuard<Parameter>>,
    ctx: &Context,
    part: &str,
) -> Controller<DeserializeGuard<Parameter>> {
    let known = parameters.store();
    parameters.watches(
        scope::within::<DeserializeGuard<Parameter>>(&ctx.client, part),
        watcher::Config::default(),
        move |written| {
            let place = (written.namespace().unwrap_or_default(), written.name_any());
            let is_twin = |parameter: &Arc<DeserializeGuard<Parameter>>| {
                let readable = parameter.0.as_ref().ok()?;
                let mut twins = readable.spec.consistent_with.iter();
                let is = twins.any(|twin| at(twin, readable) == place);
                is.then(|| ObjectRef::from_obj(&**parameter))
            };
            let state = known.state();
            state.iter().filter_map(is_twin).collect::<Vec<_>>()
        },
    )
}

/// Namespace and name of a twin.
fn at(twin: &Twin, of: &Parameter) -> (String, String) {
    let name = twin.name.clone().unwrap_or_else(|| of.name_any());
    (twin.namespace.clone(), name)
}

pub async fn reconcile(
    parameter: Arc<DeserializeGuard<Parameter>>,
    ctx: Arc<Context>,
) -> Result<Action> {
    let parameter = valid(&parameter)?;
    if parameter.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let looked = look(parameter, &ctx).await;
    let told = looked.as_ref().map_err(|error| {
        let category = error.category();
        Refusal::new(category, chain(error))
    });
    let status = parameter::status(parameter, &told.cloned(), jiff::Timestamp::now());
    if parameter.status.as_ref() != Some(&status) {
        report::status(&ctx.client, parameter, "pilothouse-parameter", &status).await?;
        tell(&ctx, parameter, &status).await;
    }
    looked?;
    ctx.succeeded(parameter);
    Ok(Action::requeue(
        if parameter.spec.consistent_with.is_empty() {
            Duration::from_hours(1)
        } else {
            TWINS
        },
    ))
}

async fn look(parameter: &Parameter, ctx: &Context) -> Result<Found> {
    let namespace = parameter.namespace().unwrap_or_default();
    let users = ctx
        .memory
        .users
        .of(ctx.scope.part_of(&namespace), parameter);
    let versions = versions(parameter, ctx, users.as_deref()).await?;
    let mut twins = Vec::new();
    for twin in &parameter.spec.consistent_with {
        twins.push((twin.clone(), compared(parameter, twin, ctx).await?));
    }
    Ok(Found {
        versions,
        users,
        twins,
    })
}

/// What is kept, the newest first; what the Parameter says now is kept first of all.
async fn versions(
    parameter: &Parameter,
    ctx: &Context,
    users: Option<&[ParameterUser]>,
) -> Result<Vec<ParameterVersion>> {
    let revisions = Revisions::new(&ctx.client, parameter, LABEL_PARAMETER);
    let mut kept = revisions.kept().await?;
    kept.retain(|revision| revisions::is_of(revision, LABEL_PARAMETER, parameter));
    let now = Version::of(&parameter.spec);
    let latest = kept.last();
    let says = latest.and_then(held).map(|version| version.held());
    if says.as_ref() != Some(&now.held()) {
        let number = latest.map_or(1, |r| r.revision + 1);
        let uid = parameter.uid().unwrap_or_default();
        let name = kept::revision_name(&parameter.name_any(), &uid, number);
        let data = serde_json::to_value(&now).expect("a version is plain data");
        kept.push(revisions.keep(&name, number, data).await?);
    }
    if let Some(users) = users {
        for old in superfluous(&kept, parameter.spec.versions_kept, users) {
            revisions.forget(&old).await?;
            kept.retain(|revision| revision.revision != old.revision);
        }
    }
    Ok(kept.iter().rev().map(shown).collect())
}

fn held(revision: &ControllerRevision) -> Option<Version> {
    let data = revision.data.as_ref()?;
    serde_json::from_value(data.0.clone()).ok()
}

/// Versions beyond those that are to be kept, but for those that somebody names.
fn superfluous(
    kept: &[ControllerRevision],
    most: i32,
    users: &[ParameterUser],
) -> Vec<ControllerRevision> {
    let named: BTreeSet<i64> = users.iter().filter_map(|user| user.version).collect();
    let most = usize::try_from(most).unwrap_or_default().max(1);
    let old = kept.iter().take(kept.len().saturating_sub(most));
    old.filter(|revision| !named.contains(&revision.revision))
        .cloned()
        .collect()
}

fn shown(revision: &ControllerRevision) -> ParameterVersion {
    let by = held(revision).and_then(|version| version.requested_by);
    let at = revision.creation_timestamp();
    ParameterVersion {
        version: revision.revision,
        revision_name: revision.name_any(),
        changed_by: by.map(|by| by.user).unwrap_or_default(),
        changed_at: at.unwrap_or(Time(jiff::Timestamp::UNIX_EPOCH)),
    }
}

/// How a twin compares, as far as whoever wrote the Parameter last may see it.
async fn compared(parameter: &Parameter, twin: &Twin, ctx: &Context) -> Result<Likeness> {
    let (namespace, name) = at(twin, parameter);
    let Some(by) = &parameter.spec.requested_by else {
        let why = "spec.requestedBy is empty; apply it again while the admission policies of the chart are in force";
        return Ok(Likeness::Hidden(why.to_owned()));
    };
    match readable(ctx, &namespace, &name, by).await {
        Ok(true) => {}
        Ok(false) => {
            let why = format!("{} may not get it", by.user);
            return Ok(Likeness::Hidden(why));
        }
        Err(error) => return Ok(Likeness::Hidden(not_served(error)?)),
    }
    let twins: Api<Parameter> = Api::namespaced(ctx.client.clone(), &namespace);
    match twins.get_opt(&name).await {
        Ok(twin) => Ok(parameter::likeness(parameter, twin.as_ref())),
        Err(error) => Ok(Likeness::Hidden(not_served(error)?)),
    }
}

async fn readable(
    ctx: &Context,
    namespace: &str,
    name: &str,
    by: &Requester,
) -> Result<bool, kube::Error> {
    let asked = ResourceAttributes {
        group: Some(Parameter::group(&()).into_owned()),
        verb: Some("get".to_owned()),
        resource: Some(Parameter::plural(&()).into_owned()),
        name: Some(name.to_owned()),
        ..ResourceAttributes::default()
    };
    entitled::reviewed(&ctx.client, namespace, by, asked).await
}

/// What is forbidden to the operator is out of its scope; anything else is asked again.
fn not_served(error: kube::Error) -> Result<String> {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            Ok("the operator does not serve that namespace".to_owned())
        }
        error => Err(crate::error::observing(
            "a Parameter that is to be the same",
        )(error)),
    }
}

/// Tells of a new value and of drift.
async fn tell(ctx: &Context, parameter: &Parameter, status: &ParameterStatus) {
    let about = parameter.object_ref(&());
    let before = parameter.status.as_ref();
    let newest = status.versions.first();
    if let Some(newest) = newest.filter(|_| before.and_then(|b| b.version) < status.version) {
        let note = format!("version {} by {}", newest.version, newest.changed_by);
        let events = &ctx.events;
        events.tell(&about, false, "Changed", "Store", &note).await;
    }
    let drift = |status: &ParameterStatus| {
        let told = find_condition(&status.conditions, "Consistent");
        told.filter(|c| c.reason == "Drift")
            .map(|c| c.message.clone())
    };
    if let Some(now) = drift(status).filter(|now| before.and_then(drift).as_ref() != Some(now)) {
        let events = &ctx.events;
        events.tell(&about, true, "Drift", "Compare", &now).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_versions_stay_and_those_that_somebody_names() {
        let revision = |revision| ControllerRevision {
            revision,
            ..ControllerRevision::default()
        };
        let kept: Vec<_> = (1..=6).map(revision).collect();
        let user = ParameterUser {
            kind: "Job".into(),
            name: "j".into(),
            version: Some(2),
        };
        let old = superfluous(&kept, 3, &[user]);
        let old: Vec<_> = old.iter().map(|r| r.revision).collect();
        assert_eq!(old, [1, 3]);
        assert!(superfluous(&kept[..2], 3, &[]).is_empty());
    }
}
