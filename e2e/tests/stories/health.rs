//! Story: Flux, Helm and Argo CD say of every kind, in every state that it can be in, what is true of it.

use e2e::{
    Manifest, People, Stage, TestNamespace,
    health::{Expected, assert_told},
    stage::PATIENCE,
    wait_for,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject},
};
use serde_json::json;

/// Each of these is a state's, by its name. EXPIRES is a moment away.
const OBJECTS: &str = r#"
{kind: Host, metadata: {name: silent}, spec: {type: VirtualMachine, address: 172.31.250.21, port: 1, credentialsRef: {name: fleet-key}, hostKeyPolicy: TrustOnFirstUse}}
---
{kind: Script, metadata: {name: stored}, spec: {content: "true"}}
---
{kind: Job, metadata: {name: plannable}, spec: {sharing: Shared, targets: {hosts: {names: [pm1]}}, steps: [{name: a, inline: {content: "true"}}]}}
---
{kind: Job, metadata: {name: circle}, spec: {targets: {hosts: {names: [pm1]}}, steps: [{name: a, needs: [b], inline: {content: "true"}}, {name: b, needs: [a], inline: {content: "true"}}]}}
---
{kind: Job, metadata: {name: lacking}, spec: {targets: {hosts: {names: [pm1]}}, steps: [{name: a, script: {name: nobody}}]}}
---
{kind: JobRun, metadata: {name: running}, spec: {job: {targets: {hosts: {names: [vm1]}}, steps: [{name: a, timeout: 10m, inline: {content: "while :; do sleep 0.2; done"}}]}}}
---
{kind: JobRun, metadata: {name: asked}, spec: {job: {sharing: Shared, targets: {hosts: {names: [pm1]}}, steps: [{name: a, timeout: 10m, inline: {content: "while :; do sleep 0.2; done"}}]}}}
---
{kind: JobRun, metadata: {name: cancelled}, spec: {job: {sharing: Shared, targets: {hosts: {names: [pm1]}}, steps: [{name: a, timeout: 10m, inline: {content: "while :; do sleep 0.2; done"}}]}}}
---
{kind: JobRun, metadata: {name: paused}, spec: {job: {sharing: Shared, targets: {hosts: {names: [pm1]}}, strategy: {onThreshold: Pause}, steps: [{name: a, inline: {content: "false"}}]}}}
---
{kind: JobRun, metadata: {name: failed}, spec: {job: {sharing: Shared, targets: {hosts: {names: [pm1]}}, steps: [{name: a, inline: {content: "false"}}]}}}
---
{kind: JobRun, metadata: {name: succeeded}, spec: {jobRef: {name: plannable}}}
---
{kind: JobRun, metadata: {name: skipped}, spec: {job: {targets: {hosts: {selector: {matchLabels: {fleet: none}}}}, steps: [{name: a, inline: {content: "true"}}]}}}
---
{kind: JobRun, metadata: {name: refused}, spec: {jobRef: {name: nobody}}}
---
{kind: RunAction, metadata: {name: suspend}, spec: {runRef: {name: asked}, action: Suspend}}
---
{kind: RunAction, metadata: {name: cancel}, spec: {runRef: {name: cancelled}, action: Cancel}}
---
{kind: RunAction, metadata: {name: nothing}, spec: {runRef: {name: nobody}, action: Cancel}}
---
{kind: Approval, metadata: {name: nobodys}, spec: {subject: {kind: Script, name: nobody}, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", decision: Approve}}
---
{kind: ChangeTicket, metadata: {name: draft}, spec: {TICKET, plan: {guide: g}, window: {start: "2026-01-01T00:00:00Z", end: "2099-01-01T00:00:00Z"}}}
---
{kind: ChangeTicket, metadata: {name: reviewed}, spec: {TICKET, submit: true, plan: {guide: g}, window: {start: "2026-01-01T00:00:00Z", end: "2099-01-01T00:00:00Z"}}}
---
{kind: ChangeTicket, metadata: {name: late}, spec: {TICKET, submit: true, plan: {guide: g}, window: {start: "2026-01-01T00:00:00Z", end: "EXPIRES"}}}
---
{kind: ChangeTicket, metadata: {name: over}, spec: {TICKET, submit: true, plan: {guide: g}, window: {start: "2025-01-01T00:00:00Z", end: "2025-01-02T00:00:00Z"}}}
---
{kind: ChangeTicket, metadata: {name: planless}, spec: {TICKET, submit: true, plan: {job: {jobRef: {name: nobody}}}, window: {start: "2026-01-01T00:00:00Z", end: "2099-01-01T00:00:00Z"}}}
---
{kind: ChangeTicket, metadata: {name: withdrawn}, spec: {TICKET, submit: true, plan: {guide: g}, window: {start: "2026-01-01T00:00:00Z", end: "2099-01-01T00:00:00Z"}}}
---
{kind: ChangeTicket, metadata: {name: unsolved}, spec: {TICKET, submit: true, plan: {solution: {name: asked}}, window: {start: "2026-01-01T00:00:00Z", end: "2099-01-01T00:00:00Z"}}}
---
{kind: ChangeSolution, metadata: {name: draft}, spec: {title: t, plan: {guide: g}, review: [{name: l, users: [somebody]}]}}
---
{kind: ChangeSolution, metadata: {name: asked}, spec: {title: t, submit: true, plan: {guide: g}, review: [{name: l, users: [somebody]}]}}
---
{kind: ChangeSolution, metadata: {name: planless}, spec: {title: t, submit: true, plan: {job: {jobRef: {name: nobody}}}, review: [{name: l, users: [somebody]}]}}
---
{kind: ChangeAction, metadata: {name: withdraw}, spec: {ticketRef: {name: withdrawn}, action: Cancel}}
---
{kind: ChangeAction, metadata: {name: astray}, spec: {ticketRef: {name: nobody}, action: Cancel}}
---
{kind: BreakGlass, metadata: {name: open}, spec: {reason: r, incident: i}}
---
{kind: BreakGlass, metadata: {name: shut}, spec: {reason: r, incident: i, closed: true}}
---
{kind: Parameter, metadata: {name: kept}, spec: {value: a}}
---
{kind: ScheduledTask, metadata: {name: scheduled}, spec: {schedule: {every: 24h}, jobRef: {name: plannable}}}
---
{kind: ScheduledTask, metadata: {name: suspended}, spec: {schedule: {every: 24h}, suspend: true, jobRef: {name: plannable}}}
---
{kind: ScheduledTask, metadata: {name: expired}, spec: {schedule: {every: 1s}, expires: "EXPIRES", jobRef: {name: plannable}}}
---
{kind: ScheduledTask, metadata: {name: exhausted}, spec: {schedule: {every: 1s}, maxRuns: 1, jobRef: {name: plannable}}}
---
{kind: ScheduledTask, metadata: {name: nowhere}, spec: {schedule: {cron: "0 0 3 ? * *", timeZone: Mars/Olympus}, jobRef: {name: plannable}}}
---
{kind: ScheduledTask, metadata: {name: jobless}, spec: {schedule: {every: 24h}, jobRef: {name: nobody}}}
---
{kind: ScheduledTask, metadata: {name: unguarded}, spec: {schedule: {every: 24h}, calendarRefs: [{name: nobody}], jobRef: {name: plannable}}}
---
{kind: ChangeCalendar, metadata: {name: frozen}, spec: {default: Closed, timeZone: Asia/Shanghai}}
---
{kind: ChangeCalendar, metadata: {name: astray}, spec: {default: Closed, timeZone: Mars/Olympus}}
---
{kind: ScheduledTask, metadata: {name: barred}, spec: {schedule: {every: 24h}, jobRef: {name: hers}}}
"#;

/// What every ticket says besides.
const TICKET: &str = "title: t, type: Regular, level: D, implementers: {users: [nobody]}, review: [{name: l, users: [somebody]}]";

/// Which object shows which condition, and what kstatus and Argo CD are to say of it then.
const STATES: &str = "
Host          vm1       Ready=True/Answered              Current    Healthy
Host          silent    Ready=False/Connect              InProgress Degraded
Script        stored    Ready=True/Stored                Current    Healthy
Parameter     kept      Ready=True/Stored                Current    Healthy
ChangeCalendar frozen   Ready=True/Read                  Current    Healthy
ChangeCalendar astray   Ready=False/TimeZoneUnknown      Failed     Degraded
Job           plannable Ready=True/Plannable             Current    Healthy
Job           circle    Ready=False/CycleInNeeds         Failed     Degraded
Job           lacking   Ready=False/ScriptNotFound       InProgress Progressing
JobRun        running   Running=True/InProgress          InProgress Progressing
JobRun        waiting   Running=False/WaitingForMachine  InProgress Progressing
JobRun        asked     Suspended=True/Asked             InProgress Suspended
JobRun        paused    Suspended=True/ThresholdExceeded InProgress Suspended
JobRun        succeeded Complete=True/Succeeded          Current    Healthy
JobRun        skipped   Complete=True/Skipped            Current    Healthy
JobRun        failed    Failed=True/StepsFailed          Failed     Degraded
JobRun        cancelled Failed=True/Cancelled            Failed     Degraded
JobRun        refused   Failed=True/JobNotFound          Failed     Degraded
JobRun        again     Failed=True/AlreadyBegun         Current    Healthy
JobRun        hook      Failed=True/AlreadyBegun         Current    Degraded
RunAction     suspend   Applied=True/TakenIn             Current    Healthy
RunAction     nothing   Applied=False/RunNotFound        Failed     Degraded
Approval      nobodys   Counts=False/NotFound            Failed     Degraded
ChangeTicket  draft     Ready=True/Draft                 Current    Healthy
ChangeTicket  reviewed  Ready=Unknown/AwaitingApproval   InProgress Suspended
ChangeTicket  late      Ready=False/Expired              Failed     Degraded
ChangeTicket  over      Ready=True/AlreadyOver           Current    Healthy
ChangeTicket  planless  Ready=False/JobNotFound          Failed     Degraded
ChangeTicket  withdrawn Ready=False/Cancelled            Failed     Degraded
ChangeTicket  unsolved  Ready=False/SolutionNotApproved  Failed     Degraded
ChangeSolution draft    Ready=True/Draft                 Current    Healthy
ChangeSolution asked    Ready=Unknown/AwaitingApproval   InProgress Suspended
ChangeSolution planless Ready=False/JobNotFound          Failed     Degraded
ChangeAction  withdraw  Applied=True/TakenIn             Current    Healthy
ChangeAction  astray    Applied=False/TicketNotFound     Failed     Degraded
BreakGlass    open      Ready=Unknown/Live               InProgress Progressing
BreakGlass    shut      Ready=False/TooLate              Failed     Degraded
ScheduledTask scheduled Ready=True/Scheduled             Current    Healthy
ScheduledTask suspended Ready=True/Suspended             Current    Healthy
ScheduledTask expired   Ready=True/Finished              Current    Healthy
ScheduledTask exhausted Ready=True/Finished              Current    Healthy
ScheduledTask nowhere   Ready=False/TimeZoneUnknown      Failed     Degraded
ScheduledTask jobless   Ready=False/JobNotFound          Failed     Degraded
ScheduledTask barred    Ready=False/WriterNotEntitled    Failed     Degraded
ScheduledTask unguarded Ready=False/CalendarNotFound     InProgress Progressing
";

/// Runs that go by their age and are brought back by Git.
const AGAIN: &str = "
{kind: JobRun, metadata: {name: again}, spec: {ttlAfterFinished: 1s, jobRef: {name: plannable}}}
---
{kind: JobRun, metadata: {name: hook, annotations: {argocd.argoproj.io/hook: PreSync}}, spec: {ttlAfterFinished: 1s, jobRef: {name: plannable}}}
";

/// Waits for the second of two runs that want the same machine.
const WAITING: &str = r"{kind: JobRun, metadata: {name: waiting}, spec: {job: {targets: {hosts: {names: [vm1]}}, steps: [{name: a, inline: {content: 'true'}}]}}}";

struct Told {
    stage: Stage,
    seen: Vec<Expected>,
}

impl Told {
    /// Creates objects; nobody has looked at what the API server answers.
    async fn create(&mut self, documents: &str) {
        let documents = documents.replace("kind: ", "apiVersion: pilothouse.dev/v1alpha1, kind: ");
        for manifest in Manifest::read(&documents) {
            let manifest = manifest.within(self.stage.name());
            let created = manifest.create(&self.stage.client).await;
            let created = created.unwrap_or_else(|error| panic!("{}: {error}", manifest.title()));
            self.saw(&created, "just created", "InProgress", "Progressing");
        }
    }

    fn saw(
        &mut self,
        object: &DynamicObject,
        how: &str,
        kstatus: &'static str,
        argo: &'static str,
    ) {
        let kind = object.types.as_ref().map_or("?", |types| &types.kind);
        self.seen.push(Expected {
            title: format!("{kind} {}, {how}", object.name_any()),
            object: serde_json::to_value(object).expect("an object is plain data"),
            kstatus,
            argo,
        });
    }

    async fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let any = Manifest::of(kind, "any", &json!({})).within(namespace);
        let api = any.api(&self.stage.client).await;
        api.expect("the kind is served")
    }

    /// Waits until an object shows a condition, and keeps it as it is then.
    async fn shows(&mut self, namespace: &str, state: &'static str) {
        let words: Vec<_> = state.split_whitespace().collect();
        let [kind, name, sign, kstatus, argo] = words[..] else {
            panic!("a state has five words: {state}");
        };
        let api = self.api(kind, namespace).await;
        let is = |object: Option<&DynamicObject>| object.is_some_and(|o| carries(o, sign));
        let seen = wait_for(api, name, sign, PATIENCE, is).await;
        self.saw(&seen, sign, kstatus, argo);
    }

    /// A change that nobody has looked at yet, and the beginning of an end.
    async fn changes_and_goes(&mut self) {
        let spec =
            json!({"schedule": {"every": "23h"}, "suspend": true, "jobRef": {"name": "plannable"}});
        let changed = Manifest::of("ScheduledTask", "suspended", &spec).within(self.stage.name());
        let changed = changed.apply(&self.stage.client).await.expect("accepted");
        self.saw(&changed, "just changed", "InProgress", "Progressing");
        for (kind, name) in [
            ("ScheduledTask", "scheduled"),
            ("JobRun", "running"),
            ("Host", "silent"),
        ] {
            let api = self.api(kind, self.stage.name()).await;
            let going = api.delete(name, &DeleteParams::foreground()).await;
            let going = going.expect("an administrator deletes").left();
            let going = going.expect("what depends on it goes first");
            self.saw(&going, "being deleted", "Terminating", "Progressing");
        }
    }
}

/// Whether an object has a condition, given as `Type=Status/Reason`.
fn carries(object: &DynamicObject, sign: &str) -> bool {
    let conditions = object.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| {
        let word = |field: &str| c[field].as_str().unwrap_or_default().to_owned();
        sign == format!("{}={}/{}", word("type"), word("status"), word("reason"))
    })
}

/// A stage on which mallory, who is not entitled to the runner's account, has written a Job.
async fn set() -> Stage {
    let people = People::new("health").await;
    let writes = json!([{"apiGroups": ["pilothouse.dev"], "resources": ["jobs"], "verbs": ["get", "create", "patch", "update"]},
        {"apiGroups": ["pilothouse.dev"], "resources": ["hosts"], "verbs": ["use"]}]);
    let mallory = people.person_with("mallory", writes, ("patch", "jobs"), None);
    let mallory = mallory.await;
    let stage = Stage::within(people.cluster, people.namespace).await;
    stage.hosts_seen().await;
    let job = json!({"targets": {"hosts": {"names": ["pm1"]}}, "steps": [{"name": "a", "inline": {"content": "true"}}]});
    let hers = Manifest::of("Job", "hers", &job).within(stage.name());
    hers.apply(&mallory).await.expect("mallory may write Jobs");
    stage
}

/// A namespace that takes no revision of a Script.
async fn full(stage: &Stage) -> TestNamespace {
    let namespace = TestNamespace::create(&stage.cluster, "health-full").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"}, "spec": {"hard": {"count/controllerrevisions.apps": "0"}}});
    let quota = Manifest::from_json(quota).within(namespace.name());
    quota
        .apply(&stage.client)
        .await
        .expect("a quota is accepted");
    let quotas: Api<ResourceQuota> = Api::namespaced(stage.client.clone(), namespace.name());
    let holds = |quota: Option<&ResourceQuota>| {
        let status = quota.and_then(|quota| quota.status.as_ref());
        status.is_some_and(|status| status.hard.is_some())
    };
    wait_for(quotas, "full", "hard", PATIENCE, holds).await;
    let script = Manifest::of("Script", "unstored", &json!({"content": "true"}));
    let script = script.within(namespace.name());
    script
        .apply(&stage.client)
        .await
        .expect("a Script is accepted");
    namespace
}

#[tokio::test]
async fn each_kind_is_told_of_as_it_is_in_every_state() {
    let stage = set().await;
    let full = full(&stage).await;
    let mut told = Told {
        stage,
        seen: Vec::new(),
    };
    let expires = Timestamp::now() + SignedDuration::from_secs(20);
    let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let objects = OBJECTS.replace("TICKET", TICKET);
    told.create(&objects.replace("EXPIRES", &expires)).await;
    told.create(AGAIN).await;
    told.stage.becomes("running", &["Running"]).await;
    told.create(WAITING).await;
    for run in ["again", "hook"] {
        told.stage.gone(run).await;
    }
    told.create(AGAIN).await;

    let namespace = told.stage.name().to_owned();
    for state in STATES.lines().filter(|line| !line.is_empty()) {
        told.shows(&namespace, state).await;
    }
    let unstored = "Script unstored Ready=False/Act InProgress Degraded";
    told.shows(full.name(), unstored).await;
    told.changes_and_goes().await;
    for run in ["waiting", "asked", "paused"] {
        told.stage.act(run, "Cancel").await;
        told.stage.ends(run).await;
    }
    assert_told(&told.seen);
}
