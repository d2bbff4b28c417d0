//! Story: Jobs run by themselves when their schedules say so, each firing once whoever leads; and what does not fire says why.

use std::{collections::BTreeSet, time::Duration};

use crds::v1alpha1::{JobRun, ScheduledTask, ScheduledTaskStatus, find_condition};
use e2e::{
    Guest, Manifest, People, Replica, Stage, eventually, soon,
    stage::{PATIENCE, state},
    wait_for,
};
use jiff::{Timestamp, tz::TimeZone};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

const JOB: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: tick}
spec:
  targets: {hosts: {names: [vm1]}}
  sharing: Shared
  steps: [{name: tick, inline: {content: 'echo "$RUN" >> /var/tmp/NAMESPACE', env: {RUN: "{{ run.name }}"}}}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: endless}
spec:
  targets: {hosts: {names: [vm1]}}
  sharing: Shared
  steps: [{name: wait, timeout: 10m, inline: {content: 'while :; do sleep 0.2; done'}}]
"#;

struct Schedules {
    stage: Stage,
    tasks: Api<ScheduledTask>,
}

impl Schedules {
    async fn on(stage: Stage) -> Self {
        stage.hosts_seen().await;
        stage.apply(JOB).await;
        let tasks = Api::namespaced(stage.client.clone(), stage.name());
        Self { stage, tasks }
    }

    async fn write(&self, name: &str, spec: &Value) {
        let task = Manifest::of("ScheduledTask", name, spec).within(self.stage.name());
        let written = task.apply(&self.stage.client).await;
        written.unwrap_or_else(|error| panic!("{name} was refused: {error}"));
    }

    async fn until(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&ScheduledTaskStatus) -> bool,
    ) -> ScheduledTaskStatus {
        let seen = |task: Option<&ScheduledTask>| {
            let status = task.filter(|t| {
                t.status
                    .as_ref()
                    .is_some_and(|s| s.observed_generation == t.metadata.generation)
            });
            status.and_then(|t| t.status.as_ref()).is_some_and(&is)
        };
        let seen = wait_for(self.tasks.clone(), name, what, PATIENCE, seen).await;
        seen.status.expect("it was looked at")
    }

    async fn ready(&self, name: &str, reason: &str) -> ScheduledTaskStatus {
        self.until(name, reason, |status| {
            find_condition(&status.conditions, "Ready").is_some_and(|c| c.reason == reason)
        })
        .await
    }

    async fn suppressed(&self, name: &str, reason: &str) -> ScheduledTaskStatus {
        let is = |status: &ScheduledTaskStatus| {
            status
                .suppressed
                .first()
                .is_some_and(|s| s.reason == reason)
        };
        self.until(name, reason, is).await
    }

    /// Runs of a task that are still kept.
    async fn runs(&self, name: &str) -> Vec<JobRun> {
        let all = self.stage.runs().list(&ListParams::default()).await;
        let mut runs = all.expect("runs are listed").items;
        runs.retain(|run| {
            run.spec
                .on_behalf_of
                .first()
                .is_some_and(|o| o.name == name)
        });
        runs
    }

    /// The runs that left a line on the host.
    fn lines(&self) -> Vec<String> {
        let file = format!("cat /var/tmp/{} 2>/dev/null; true", self.stage.name());
        let lines = Guest("vm1").sh(&file);
        lines.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn each_firing_runs_once_and_neither_deleting_runs_nor_applying_again_repeats_it() {
    let schedules = Schedules::on(Stage::set("ticks").await).await;
    let spec = json!({"schedule": {"every": "3s", "from": soon(3)}, "concurrency": "Allow", "maxRuns": 3, "jobRef": {"name": "tick"}, "history": {"succeeded": 1}});
    schedules.write("ticks", &spec).await;
    let status = schedules.ready("ticks", "Finished").await;
    assert_eq!((status.runs, status.next_firings.len()), (Some(3), 0));
    let lines = eventually("three lines", PATIENCE, || async {
        Some(schedules.lines()).filter(|lines| lines.len() >= 3)
    })
    .await;
    let last = status.last_run.expect("a run");
    assert!(lines.contains(&last), "{lines:?}");

    let run = schedules.stage.ends(&last).await;
    let origin = &run.spec.on_behalf_of[0];
    assert_eq!(
        (origin.kind.as_str(), origin.name.as_str()),
        ("ScheduledTask", "ticks")
    );
    assert_eq!(origin.at, status.last_fired);
    let by = run.spec.requested_by.expect("stamped").user;
    assert!(by.ends_with(":pilothouse-operator"), "{by}");
    assert_ne!(
        origin.requested_by.user, by,
        "whoever wrote the task stands in the chain"
    );

    for run in schedules.runs("ticks").await {
        let deleted = schedules
            .stage
            .runs()
            .delete(&run.name_any(), &DeleteParams::default())
            .await;
        deleted.expect("an administrator may");
        schedules.stage.gone(&run.name_any()).await;
    }
    schedules.write("ticks", &spec).await;
    let labels = json!({"metadata": {"labels": {"touched": "yes"}}});
    let touched = schedules
        .tasks
        .patch("ticks", &PatchParams::default(), &Patch::Merge(labels))
        .await;
    touched.expect("a label is taken");
    schedules.ready("ticks", "Finished").await;
    assert_eq!(schedules.lines().len(), 3);
    assert!(schedules.runs("ticks").await.is_empty());
}

#[tokio::test]
async fn each_firing_runs_once_whoever_leads() {
    let schedules = Schedules::on(Stage::set("leads").await).await;
    let (kills, runs) = (3, 10);
    let spec = json!({"schedule": {"every": "4s", "from": soon(2)}, "concurrency": "Allow", "maxRuns": runs, "jobRef": {"name": "tick"},
        "misfire": {"policy": "RunAll"}, "history": {"succeeded": 20}});
    schedules.write("leads", &spec).await;
    for _ in 0..kills {
        let leader = Replica::leader(&schedules.stage.client).await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..4000))).await;
        leader.killed().await;
    }
    let status = schedules.ready("leads", "Finished").await;
    assert_eq!(status.runs, Some(runs), "{status:#?}");
    // A leader that comes late to the last firing finds the one after it due too.
    let mut suppressed = status.suppressed.iter();
    let beyond = suppressed.all(|missed| missed.reason == "MaxRunsReached");
    assert!(beyond, "{status:#?}");
    let all = schedules.runs("leads").await;
    for run in &all {
        let ended = schedules.stage.ends(&run.name_any()).await;
        let summary = ended.status.and_then(|s| s.summary);
        assert_eq!(summary.as_deref(), Some("Succeeded"), "{}", run.name_any());
    }
    let lines = schedules.lines();
    let once: BTreeSet<_> = lines.iter().cloned().collect();
    let names: BTreeSet<_> = all.iter().map(kube::ResourceExt::name_any).collect();
    assert_eq!(
        (lines.len(), &once),
        (usize::try_from(runs).expect("few"), &names),
        "{lines:?}"
    );
}

#[tokio::test]
async fn an_earlier_run_forbids_the_next_or_is_replaced_by_it() {
    let schedules = Schedules::on(Stage::set("earlier").await).await;
    let spec = |policy: &str| json!({"schedule": {"every": "3s", "from": soon(2)}, "concurrency": policy, "jobRef": {"name": "endless"}});
    schedules.write("forbids", &spec("Forbid")).await;
    let status = schedules.suppressed("forbids", "PreviousRunActive").await;
    assert_eq!(status.runs, Some(1));
    let mut suspended = spec("Forbid");
    suspended["suspend"] = true.into();
    schedules.write("forbids", &suspended).await;
    schedules.ready("forbids", "Suspended").await;
    let first = status.last_run.expect("a run");
    schedules.stage.becomes(&first, &["Running"]).await;

    schedules.write("replaces", &spec("Replace")).await;
    let replaced = schedules
        .until("replaces", "two runs", |s| s.runs.is_some_and(|n| n >= 2))
        .await;
    let mut suspended = spec("Replace");
    suspended["suspend"] = true.into();
    schedules.write("replaces", &suspended).await;
    let status = schedules.ready("replaces", "Suspended").await;
    let last = status.last_run.expect("a run");
    for run in schedules.runs("replaces").await {
        if run.name_any() == last {
            continue;
        }
        let ended = schedules
            .stage
            .ends(&run.name_any())
            .await
            .status
            .expect("status");
        assert_eq!(ended.summary.as_deref(), Some("Cancelled"), "{ended:#?}");
    }
    for run in [&last, &first] {
        schedules.stage.act(run, "Cancel").await;
        schedules.stage.ends(run).await;
    }
    assert!(replaced.last_fired.is_some());
}

#[tokio::test]
async fn content_of_somebody_who_is_not_entitled_fires_nothing_until_one_who_is_applies_it() {
    let people = People::new("entitled").await;
    let writes = json!([{"apiGroups": ["pilothouse.dev"], "resources": ["jobs"], "verbs": ["get", "create", "patch", "update"]},
        {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "verbs": ["use"]}]);
    let mallory = people
        .person_with("mallory", writes, ("patch", "jobs"), None)
        .await;
    let stage = Stage::within(people.cluster, people.namespace).await;
    let schedules = Schedules::on(stage).await;
    schedules.write("task", &json!({"schedule": {"every": "2s"}, "jobRef": {"name": "later"}, "history": {"succeeded": 5}})).await;
    let status = schedules.suppressed("task", "JobNotFound").await;
    assert_eq!(status.runs, None);

    let job = |text: &str| json!({"targets": {"hosts": {"names": ["vm1"]}}, "sharing": "Shared", "steps": [{"name": "a", "inline": {"content": text}}]});
    let written = Manifest::of("Job", "later", &job("echo mallory")).within(schedules.stage.name());
    written
        .apply(&mallory)
        .await
        .expect("mallory may write Jobs");
    let status = schedules.suppressed("task", "WriterNotEntitled").await;
    assert!(
        status.suppressed[0].message.contains("mallory"),
        "{status:#?}"
    );
    schedules.ready("task", "WriterNotEntitled").await;
    assert!(schedules.runs("task").await.is_empty());

    let written = Manifest::of("Job", "later", &job("echo admin")).within(schedules.stage.name());
    written
        .apply(&schedules.stage.client)
        .await
        .expect("an administrator may");
    let status = schedules.until("task", "a run", |s| s.runs.is_some()).await;
    let run = status.last_run.expect("a run");
    schedules.stage.ends(&run).await;
    assert_eq!(
        state(&schedules.stage.executions(&run).await, "a", "vm1"),
        "Succeeded"
    );
}

#[tokio::test]
async fn what_cannot_fire_says_why() {
    let schedules = Schedules::on(Stage::set("cannot").await).await;
    let job = json!({"name": "tick"});
    let cron = |cron: &str, zone: &str| json!({"schedule": {"cron": cron, "timeZone": zone}, "jobRef": job});
    let mut closed = cron("0 0 3 ? * *", "Asia/Shanghai");
    closed["calendars"] =
        json!({"exclude": [{"from": "2020-01-01", "to": "9999-12-31", "name": "for ever"}]});
    for (name, spec, reason) in [
        ("never", cron("0 0 0 31 4 ?", "UTC"), "NeverFires"),
        (
            "nowhere",
            cron("0 0 3 ? * *", "Mars/Olympus"),
            "TimeZoneUnknown",
        ),
        ("unread", cron("0 0 25 ? * *", "UTC"), "CronInvalid"),
        ("closed", closed, "NeverFires"),
        (
            "past",
            json!({"schedule": {"at": "2025-01-01T00:00:00Z"}, "jobRef": job}),
            "InThePast",
        ),
        (
            "barred",
            json!({"schedule": {"every": "1h"}, "jobRef": {"name": "nobody"}}),
            "JobNotFound",
        ),
    ] {
        schedules.write(name, &spec).await;
        let status = schedules.ready(name, reason).await;
        let stalled = find_condition(&status.conditions, "Stalled");
        assert!(
            stalled.is_some_and(|c| c.status == "True" && !c.message.is_empty()),
            "{name}"
        );
    }

    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let spec = json!({"schedule": {"every": "2s", "timeZone": "UTC"}, "jobRef": job,
        "calendars": {"exclude": [{"from": today.to_string(), "to": today.tomorrow().expect("a date").to_string(), "name": "Founders' Day"}]}});
    schedules.write("holiday", &spec).await;
    let status = schedules.suppressed("holiday", "ExcludedDate").await;
    assert!(
        status.suppressed[0].message.contains("Founders' Day"),
        "{status:#?}"
    );
    assert_eq!((status.runs, status.next_firings.len()), (None, 5));
    assert!(schedules.lines().is_empty());
}
