//! Deciding on what a CommandPolicy holds, on a step that waits for people, on a change or a solution, or on broken glass: an Approval in the caller's name, of the content that is there now.

use std::str::FromStr;

use crds::v1alpha1::{
    Approval, ApprovalSpec, BreakGlass, ChangeSolution, ChangeTicket, Decision, Job, JobRun,
    JobRunStatus, Requester, Script, StepApproval, Subject, SubjectKind,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Resource, ResourceExt as _,
    api::PostParams,
    core::{NamespaceResourceScope, object::HasStatus},
};
use serde::de::DeserializeOwned;

use crate::{
    args::ApproveArgs,
    caller,
    cluster::{Cluster, command},
    error::{Error, Result, doing},
    output::{self, Format},
};

/// What is decided on, as it is typed: `script/NAME`, `job/NAME`, `run/NAME`, `ticket/NAME`, `solution/NAME` or `breakglass/NAME`.
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
            "ticket" => SubjectKind::ChangeTicket,
            "solution" => SubjectKind::ChangeSolution,
            "breakglass" => SubjectKind::BreakGlass,
            _ => {
                return Err(
                    "write script/NAME, job/NAME, run/NAME, ticket/NAME, solution/NAME or breakglass/NAME",
                );
            }
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
    let digest = digest(cluster, asked, decision).await?;
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
async fn digest(cluster: &Cluster, asked: &ApproveArgs, decision: Decision) -> Result<String> {
    let of = &asked.subject;
    let name = &of.name;
    if asked.step.is_some() && of.kind != SubjectKind::JobRun {
        return Err(Error::StepOfNoRun);
    }
    match of.kind {
        SubjectKind::Script => {
            told::<Script>(cluster, ("Script", name), |s| {
                (s.observed_generation, s.digest.clone())
            })
            .await
        }
        SubjectKind::Job => {
            told::<Job>(cluster, ("Job", name), |s| {
                (s.observed_generation, s.revision.clone())
            })
            .await
        }
        SubjectKind::JobRun => {
            let run = cluster.run(name).await?;
            awaited(&run, asked.step.as_deref(), decision)?;
            let digest = run.status.and_then(|s| s.plan_hash);
            digest.ok_or_else(|| undigested("JobRun", name))
        }
        SubjectKind::ChangeTicket => {
            let ticket: ChangeTicket = cluster.get("ChangeTicket", name).await?;
            is_whole(&ticket, decision)?;
            let told = ticket
                .status
                .filter(|s| s.observed_generation == ticket.metadata.generation);
            let digest = told.and_then(|s| s.digest);
            digest.ok_or_else(|| undigested("ChangeTicket", name))
        }
        SubjectKind::ChangeSolution => {
            told::<ChangeSolution>(cluster, ("ChangeSolution", name), |s| {
                (s.observed_generation, s.digest.clone())
            })
            .await
        }
        SubjectKind::BreakGlass => {
            told::<BreakGlass>(cluster, ("BreakGlass", name), |s| {
                (s.observed_generation, s.digest.clone())
            })
            .await
        }
    }
}

/// The generation that the operator has seen, and the digest of what it said.
type Seen = (Option<i64>, Option<String>);

/// The digest of what an object says now, which its status tells once it is about that.
async fn told<K>(
    cluster: &Cluster,
    (kind, name): (&'static str, &str),
    of: fn(&K::Status) -> Seen,
) -> Result<String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + HasStatus
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let object: K = cluster.get(kind, name).await?;
    let (seen, digest) = object.status().map(of).unwrap_or_default();
    let digest = digest.filter(|_| seen == object.meta().generation);
    digest.ok_or_else(|| undigested(kind, name))
}

fn undigested(kind: &'static str, name: &str) -> Error {
    Error::NoDigest {
        kind,
        name: name.to_owned(),
    }
}

/// Steps at which a run waits for people, and what they are asked.
pub fn waiting(status: &JobRunStatus) -> impl Iterator<Item = (&str, &StepApproval)> {
    let steps = status.steps.iter();
    let asked = steps.filter_map(|step| Some((step.name.as_str(), step.approval.as_ref()?)));
    asked.filter(|(_, approval)| approval.outcome.is_none())
}

/// Whether a run waits for this decision. A step is named by whoever decides on it, so that nobody decides on another one than they have read about.
fn awaited(run: &JobRun, step: Option<&str>, decision: Decision) -> Result<()> {
    let name = run.name_any();
    let open: Vec<_> = run.status.iter().flat_map(waiting).collect();
    let is_awaited = step.map_or(open.is_empty(), |step| {
        open.iter().any(|(waits, _)| *waits == step)
    });
    if is_awaited {
        return Ok(());
    }
    let verb = verb(decision);
    let line = |(step, approval): &(&str, &StepApproval)| {
        let rest = format!("{verb} run/{name} --step {step}");
        let typed = command(&run.namespace().unwrap_or_default(), &rest);
        format!("\n  {typed}   {}", approval.message)
    };
    let steps = open.iter().map(line).collect();
    Err(match step {
        Some(step) => Error::StepWaitsNot {
            run: name.clone(),
            step: step.to_owned(),
            steps,
        },
        None => Error::StepsWait {
            run: name.clone(),
            steps,
        },
    })
}

/// A part by region is reviewed with its whole, and whoever names it is told that before there is an Approval that counts for nothing.
fn is_whole(ticket: &ChangeTicket, decision: Decision) -> Result<()> {
    let Some(of) = &ticket.spec.part_of else {
        return Ok(());
    };
    let rest = format!("{} ticket/{}", verb(decision), of.name);
    Err(Error::PartOfTicket {
        part: ticket.name_any(),
        whole: of.name.clone(),
        line: command(&ticket.namespace().unwrap_or_default(), &rest),
    })
}

/// As it is typed.
const fn verb(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
    }
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
            step: asked.step.clone(),
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
        let ticket = Ok((SubjectKind::ChangeTicket, "c".into()));
        assert_eq!(read("ticket/c"), ticket);
        let solution = Ok((SubjectKind::ChangeSolution, "e".into()));
        assert_eq!(read("solution/e"), solution);
        let glass = Ok((SubjectKind::BreakGlass, "d".into()));
        assert_eq!(read("breakglass/d"), glass);
        assert!(read("a").is_err() && read("pod/a").is_err());
    }

    #[test]
    fn a_step_is_decided_on_by_its_name_and_only_while_it_waits() {
        let mut run = crate::outcome::tests::run(&["Running=False/AwaitingApproval"]);
        let decides = |run: &JobRun, step| awaited(run, step, Decision::Approve);
        assert!(decides(&run, None).is_ok(), "a policy holds it");
        assert!(decides(&run, Some("sign-off")).is_err());
        let approval = |outcome: &str| {
            let approval = serde_json::json!({"attempt": 1, "needed": 1, "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z",
                "outcome": outcome, "decisions": [], "message": "0 of 1 approvals: canary looks fine?"});
            let mut approval = approval.as_object().expect("fields").clone();
            approval.retain(|_, value| value != "");
            approval
        };
        let step = |name: &str, outcome: &str| {
            serde_json::from_value(serde_json::json!({"name": name, "pending": 0, "running": 1, "succeeded": 0, "failed": 0, "skipped": 0,
                "approval": approval(outcome)}))
            .expect("a step")
        };
        let status = run.status.as_mut().expect("given");
        status.steps = vec![step("sign-off", ""), step("before", "Approved")];
        assert!(decides(&run, Some("sign-off")).is_ok());
        let unsaid = crate::error::report(&decides(&run, None).expect_err("which one?"));
        for word in [
            "kubectl pilothouse approve run/r --step sign-off -n n",
            "canary looks fine?",
        ] {
            assert!(unsaid.contains(word), "no {word:?} in {unsaid}");
        }
        let over = crate::error::report(&decides(&run, Some("before")).expect_err("it is over"));
        assert!(
            over.contains("does not wait") && over.contains("--step sign-off"),
            "{over}"
        );
    }

    #[test]
    fn nobody_decides_on_a_part_of_a_change_and_the_line_of_the_whole_is_named() {
        let mut ticket = serde_json::json!({"metadata": {"name": "move-eu-3f2504e0", "namespace": "shop"}, "spec": {"title": "t", "type": "Regular", "level": "C",
            "plan": {"guide": "g"}, "window": {"start": "2026-12-05T10:00:00Z", "end": "2026-12-05T12:00:00Z"}, "implementers": {"users": ["i"]},
            "review": [{"name": "l", "users": ["bob"]}]}});
        let decides = |ticket: &serde_json::Value, decision| {
            let ticket = serde_json::from_value(ticket.clone()).expect("a ticket");
            is_whole(&ticket, decision)
        };
        assert!(decides(&ticket, Decision::Approve).is_ok());
        ticket["spec"]["partOf"] =
            serde_json::json!({"name": "move", "uid": "u", "digest": "d", "region": "eu"});
        for (decision, line) in [
            (
                Decision::Approve,
                "\n  kubectl pilothouse approve ticket/move -n shop",
            ),
            (
                Decision::Reject,
                "\n  kubectl pilothouse reject ticket/move -n shop",
            ),
        ] {
            let refused = decides(&ticket, decision).expect_err("a part");
            let said = crate::error::report(&refused);
            assert!(
                said.contains("move-eu-3f2504e0") && said.ends_with(line),
                "{said}"
            );
        }
    }

    #[test]
    fn an_approval_is_of_what_is_there_now_and_ends_when_it_was_said_to() {
        let asked = ApproveArgs {
            subject: "job/nightly".parse().expect("a job"),
            reason: None,
            step: None,
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
