//! Deciding on what a CommandPolicy holds: an Approval in the caller's name, of the content that is there now.

use std::str::FromStr;

use crds::v1alpha1::{
    Approval, ApprovalSpec, Decision, Job, JobRun, Requester, Script, Subject, SubjectKind,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{ResourceExt as _, api::PostParams};

use crate::{
    args::ApproveArgs,
    caller,
    cluster::Cluster,
    error::{Error, Result, doing},
    output::{self, Format},
};

/// What is decided on, as it is typed: `script/NAME`, `job/NAME` or `run/NAME`.
#[derive(Clone, Debug)]
pub struct Named {
    kind: SubjectKind,
    name: String,
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(typed: &str) -> std::result::Result<Self, Self::Err> {
        let (kind, name) = typed.split_once('/').unwrap_or_default();
        let kind = match kind {
            "script" => SubjectKind::Script,
            "job" => SubjectKind::Job,
            "run" => SubjectKind::JobRun,
            _ => return Err("write script/NAME, job/NAME or run/NAME"),
        };
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

pub async fn approve(
    cluster: &Cluster,
    asked: &ApproveArgs,
    decision: Decision,
    format: Option<Format>,
) -> Result<u8> {
    let digest = digest(cluster, &asked.subject).await?;
    let by = caller::requester(cluster).await?;
    let wanted = approval(asked, decision, digest, by, Timestamp::now());
    let created = cluster
        .api::<Approval>()
        .create(&PostParams::default(), &wanted)
        .await
        .map_err(doing("create the Approval"))?;
    let name = format!("approval.pilothouse.dev/{}", created.name_any());
    output::result(&created, format, &name, |_| {
        format!("{name} created for {}\n", created.spec.digest)
    })?;
    Ok(0)
}

/// What stands in the status of the object now.
async fn digest(cluster: &Cluster, of: &Named) -> Result<String> {
    let name = &of.name;
    let (kind, digest) = match of.kind {
        SubjectKind::Script => {
            let script: Script = cluster.get("Script", name).await?;
            let told = script
                .status
                .filter(|s| s.observed_generation == script.metadata.generation);
            ("Script", told.and_then(|s| s.digest))
        }
        SubjectKind::Job => {
            let job: Job = cluster.job(name).await?;
            let told = job
                .status
                .filter(|s| s.observed_generation == job.metadata.generation);
            ("Job", told.and_then(|s| s.revision))
        }
        SubjectKind::JobRun => {
            let run: JobRun = cluster.run(name).await?;
            ("JobRun", run.status.and_then(|s| s.plan_hash))
        }
    };
    digest.ok_or_else(|| Error::NoDigest {
        kind,
        name: name.clone(),
    })
}

fn approval(
    asked: &ApproveArgs,
    decision: Decision,
    digest: String,
    by: Requester,
    now: Timestamp,
) -> Approval {
    let until = asked.expires.and_then(|after| {
        let after = SignedDuration::try_from(after.get()).ok()?;
        now.checked_add(after).ok().map(Time)
    });
    let spec = ApprovalSpec {
        subject: Subject {
            kind: asked.subject.kind,
            name: asked.subject.name.clone(),
        },
        digest,
        decision,
        reason: asked.reason.clone(),
        expires: until,
        requested_by: Some(by),
    };
    let mut wanted = Approval::new("", spec);
    wanted.metadata.name = None;
    wanted.metadata.generate_name = Some(format!("{}-", asked.subject.name));
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decided_on_is_named_with_its_kind() {
        let read = |typed: &str| typed.parse::<Named>().map(|n| (n.kind, n.name));
        assert_eq!(read("run/a"), Ok((SubjectKind::JobRun, "a".into())));
        assert_eq!(read("script/b"), Ok((SubjectKind::Script, "b".into())));
        assert!(read("a").is_err() && read("pod/a").is_err());
    }

    #[test]
    fn an_approval_is_of_what_is_there_now_and_ends_when_it_was_said_to() {
        let asked = ApproveArgs {
            subject: "job/nightly".parse().expect("a job"),
            reason: None,
            expires: Some(crds::v1alpha1::Duration::from_secs(60)),
        };
        let by = Requester {
            user: "bob".into(),
            groups: Vec::new(),
        };
        let now = Timestamp::UNIX_EPOCH;
        let made = approval(&asked, Decision::Approve, "sha256:a".into(), by, now);
        assert_eq!(made.metadata.generate_name.as_deref(), Some("nightly-"));
        let expires = made.spec.expires.expect("it ends");
        assert_eq!(expires.0, Timestamp::constant(60, 0));
    }
}
