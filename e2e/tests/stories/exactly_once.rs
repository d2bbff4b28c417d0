//! Story: operator, store, fronts and API server are killed again and again, stopped, and cut off, and what runs came from is edited, while they append lines on hosts, run other Jobs, empty a node, reboot a host, and
//! are started by a schedule; each line stands there exactly once, each boot was the only one, and every result is in records.

use std::{collections::HashMap, fmt::Debug, time::Duration};

use crds::v1alpha1::{Host, JobRun, ScheduledTask, find_condition};
use e2e::{
    Guest, Manifest, Part, Replica, Stage, eventually,
    guest::HOSTS,
    nodes::{Drains, node_of},
    stage::{PATIENCE, state},
    wait_for,
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

const STEPS: usize = 6;
/// Those from here on are done by another Job, as a part of the run.
const HALF: usize = 3;
/// What a run takes at its end where machines and nodes are at stake: a node is emptied and opened again, then a host rebooted, which is there afterwards.
const LAST: &str = r"
- {name: empty, needs: [rest], targets: {nodes: {names: [NODE]}}, timeout: 5m, action: {drain: {force: true, deleteEmptyDirData: true, gracePeriod: 2s}}}
- {name: open, needs: [empty], runOn: Always, targets: {nodes: {names: [NODE]}}, action: {uncordon: {}}}
- {name: again, needs: [open], targets: {hosts: {names: [pm1]}}, timeout: 5m, action: {reboot: {}}}
- {name: there, needs: [again], targets: {hosts: {names: [pm1]}}, inline: {content: 'true'}}";
/// Tasks of these steps.
const LAST_ROWS: usize = 4;
/// Firings while all of that goes on; they wait until the machine is free.
const TICKS: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: tick}
spec:
  targets: {hosts: {names: [vm1]}}
  steps: [{name: tick, inline: {content: 'echo "$RUN" >> /var/tmp/NAMESPACE-ticks', env: {RUN: "{{ run.name }}"}}}]
---
apiVersion: pilothouse.dev/v1alpha1
kind: ScheduledTask
metadata: {name: tick}
spec: {schedule: {every: 7s}, concurrency: Allow, misfire: {policy: RunAll}, jobRef: {name: tick}}
"#;
/// Long enough for a run under fire, and for what waits behind it.
const LONG: Duration = Duration::from_mins(15);
/// What befalls the leader befalls the whole cluster, so one story has it at a time.
static LEADER: Mutex<()> = Mutex::const_new(());

/// A job of these steps, one after the other, each of which appends a line.
fn steps(run: &str, numbers: std::ops::Range<usize>) -> String {
    let first = numbers.start;
    let step = |i: usize| {
        let needs = if i == first {
            String::new()
        } else {
            format!("needs: [s{}], ", i - 1)
        };
        format!(
            "- {{name: s{i}, {needs}retries: 1, inline: {{content: 'echo s{i} >> /var/tmp/{run}; sleep 0.5; echo done'}}}}"
        )
    };
    let steps: Vec<_> = numbers.map(step).collect();
    format!(
        "targets: {{hosts: {{names: [vm1, pm1]}}}}\nsteps:\n{}",
        steps.join("\n")
    )
}

fn spec(job: &str) -> Value {
    serde_saphyr::from_str(job).expect("a literal job")
}

/// Kills the leader at random instants while the run is on its way, and now and then something that it needs; how many leaders were killed, at most as many as
/// wanted.
async fn kill_during(stage: &Stage, run: &str, random: &mut StdRng, wanted: usize) -> usize {
    let mut kills = 0;
    while kills < wanted {
        let leader = Replica::leader(&stage.client).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..2500))).await;
        if has_ended(stage, run).await {
            break;
        }
        let victim = random.random_range(0..10);
        let hit = match victim {
            0..4 => leader.killed().await,
            4..7 => leader.removed().await,
            7 => Replica::store(&stage.client).await.killed().await,
            8 => Replica::front(&stage.client).await.killed().await,
            _ => api_server_killed().await,
        };
        if has_ended(stage, run).await {
            break;
        }
        kills += usize::from(hit && victim < 7);
    }
    kills
}

/// The API server is killed and started again; what asks it meanwhile hears nothing.
async fn api_server_killed() -> bool {
    Part("apiserver").cut_off().await;
    Part::all_started();
    true
}

async fn has_ended(stage: &Stage, run: &str) -> bool {
    let run = stage.runs().get(run).await;
    run.expect("the run is there").is_finished()
}

#[tokio::test]
async fn each_effect_happens_once_whenever_the_operator_is_killed() {
    let kills: usize = if std::env::var_os("PILOTHOUSE_E2E_LONG").is_some() {
        100
    } else {
        10
    };
    let _alone = LEADER.lock().await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::set("once").await;
    let _drains = Drains::allowed(&stage).await;
    stage.hosts_seen().await;
    stage.apply(TICKS).await;
    let records = node_of(&stage, "server", None).await;
    let other = match records.as_deref() {
        Some("node1") => "node2",
        _ => "node1",
    };
    let (mut done, mut number) = (0, 0);
    while done < kills {
        number += 1;
        let run = format!("{}-{number}", stage.name());
        // Only one that has ended is started again, so a second reboot would not go unseen.
        let rebooted = tokio::spawn(async {
            Part("guest-pm1").ended(LONG).await;
            Part::all_started();
        });
        begun(&stage, &run, &LAST.replace("NODE", other)).await;
        done += kill_during(&stage, &run, &mut random, kills - done).await;
        println!("{done} leaders killed in {number} runs");
        check(&stage, &run, LAST_ROWS).await;
        rebooted.await.expect("the host was rebooted");
    }
    ticked_once(&stage).await;
}

/// Waits for the end of what the schedule has started; each firing has had its effect once.
async fn ticked_once(stage: &Stage) {
    let tasks = Api::<ScheduledTask>::namespaced(stage.client.clone(), stage.name());
    let suspend = json!({"spec": {"suspend": true}});
    edit(&tasks, "tick", &suspend)
        .await
        .expect("it is suspended");
    let is_quiet = |task: Option<&ScheduledTask>| {
        let conditions = task.and_then(|t| t.status.as_ref()).map(|s| &s.conditions);
        let ready = conditions.and_then(|all| find_condition(all, "Ready"));
        ready.is_some_and(|ready| ready.reason == "Suspended")
    };
    let task = wait_for(tasks, "tick", "its suspension", PATIENCE, is_quiet).await;
    let started = task.status.and_then(|s| s.runs).unwrap_or_default();
    let lines = eventually("the end of its runs", LONG, || async {
        let runs = stage.runs().list(&ListParams::default()).await.ok()?;
        let ended = runs.items.iter().all(JobRun::is_finished);
        ended.then(|| Guest("vm1").sh(&format!("cat /var/tmp/{}-ticks", stage.name())))
    })
    .await;
    let mut ticks: Vec<_> = lines.lines().collect();
    let all = ticks.len();
    ticks.sort_unstable();
    ticks.dedup();
    assert_eq!(
        ticks.len(),
        all,
        "a firing has had its effect twice: {lines}"
    );
    let started = usize::try_from(started).expect("a count");
    assert!(
        all == started && all > 0,
        "{started} runs were started: {lines}"
    );
    println!("{all} firings, each once");
}

/// Starts a run that also takes these steps at its end, and waits until it has had its first effect.
async fn begun(stage: &Stage, run: &str, last: &str) {
    let rest = Manifest::of("Job", run, &spec(&steps(run, HALF..STEPS)));
    let rest = rest.within(stage.name());
    rest.apply(&stage.client).await.expect("a Job is accepted");
    let part = format!(
        "\n- {{name: rest, needs: [s{}], retries: 1, job: {{name: {run}}}}}",
        HALF - 1
    );
    stage.run(run, &(steps(run, 0..HALF) + &part + last)).await;
    // Before it there may be all that the schedule has started for the same host while the run before was under fire.
    eventually("the first effect", LONG, || async {
        (!stage.executions(run).await.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_past_its_lease_does_nothing_when_it_wakes() {
    let _alone = LEADER.lock().await;
    let stage = Stage::set("stopped").await;
    stage.hosts_seen().await;
    let run = stage.name().to_owned();
    let old = Replica::leader(&stage.client).await;
    begun(&stage, &run, "").await;
    assert!(old.signal("STOP"));
    let new = another_leads(&stage, &old).await;
    assert!(old.signal("CONT"));
    check(&stage, &run, 0).await;
    old.ended().await;
    let still = Replica::leader(&stage.client).await;
    assert_eq!(
        still.name(),
        new.name(),
        "who woke up leaves the other alone"
    );
}

#[tokio::test]
async fn a_leader_that_is_cut_off_from_the_api_server_hands_over() {
    let _alone = LEADER.lock().await;
    let stage = Stage::set("cutoff").await;
    stage.hosts_seen().await;
    let run = stage.name().to_owned();
    let old = Replica::leader(&stage.client).await;
    begun(&stage, &run, "").await;
    let cut = old.cut_off();
    another_leads(&stage, &old).await;
    check(&stage, &run, 0).await;
    drop(cut);
    old.ended().await;
}

const EDITED: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Script
metadata: {name: second}
spec: {content: "echo s1 >> /var/tmp/NAMESPACE"}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Job
metadata: {name: edited}
spec:
  targets: {hosts: {selector: {matchLabels: {story: NAMESPACE}}}}
  steps:
    - {name: s0, inline: {content: "echo s0 >> /var/tmp/NAMESPACE; sleep 5"}}
    - {name: s1, needs: [s0], script: {name: second}}
"#;

#[tokio::test]
async fn a_run_does_what_was_planned_whatever_is_edited_and_whoever_leads_meanwhile() {
    let _alone = LEADER.lock().await;
    let stage = Stage::set("edited").await;
    stage.hosts_seen().await;
    label_hosts(&stage, stage.name()).await;
    stage.apply(EDITED).await;
    let run = stage.name();
    stage.apply(&format!("{{apiVersion: pilothouse.dev/v1alpha1, kind: JobRun, metadata: {{name: {run}}}, spec: {{jobRef: {{name: edited}}}}}}")).await;
    eventually("the first effects", PATIENCE, || async {
        (stage.executions(run).await.len() == HOSTS.len()).then_some(())
    })
    .await;
    stage.apply(&EDITED.replace("echo s", "echo edited")).await;
    label_hosts(&stage, "elsewhere").await;
    let spec = json!({"spec": {"jobRef": {"name": "other"}}});
    let plan = json!({"data": {"steps": []}});
    let plans = Api::<ControllerRevision>::namespaced(stage.client.clone(), stage.name());
    let runs = stage.runs();
    edit(&runs, run, &spec)
        .await
        .expect_err("a JobRun is immutable");
    edit(&plans, &format!("{run}-plan"), &plan)
        .await
        .expect_err("only the operator writes plans");
    edit(
        &runs,
        run,
        &json!({"metadata": {"annotations": {"note": "seen"}}}),
    )
    .await
    .expect("a note is no edit");
    assert!(Replica::leader(&stage.client).await.killed().await);
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    assert_eq!(stage.executions(run).await.len(), 2 * HOSTS.len());
    for host in HOSTS {
        let lines = host.sh(&format!("cat /var/tmp/{run}; rm /var/tmp/{run}"));
        assert_eq!(lines, "s0\ns1\n", "{}", host.0);
    }
}

async fn label_hosts(stage: &Stage, story: &str) {
    let hosts = Api::<Host>::namespaced(stage.client.clone(), stage.name());
    let labels = json!({"metadata": {"labels": {"story": story}}});
    for host in HOSTS {
        edit(&hosts, host.0, &labels)
            .await
            .expect("labels are taken");
    }
}

async fn edit<K>(api: &Api<K>, name: &str, change: &Value) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = PatchParams::default();
    api.patch(name, &params, &Patch::Merge(change)).await
}

async fn another_leads(stage: &Stage, old: &Replica) -> Replica {
    eventually("another leader", PATIENCE, || async {
        let leader = Replica::leader(&stage.client).await;
        (leader.name() != old.name()).then_some(leader)
    })
    .await
}

/// The run has ended well, with as many rows as it has tasks: those of `last` are beside the lines that it appends.
async fn check(stage: &Stage, run: &str, last: usize) {
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    let part = stage.part(run).await;
    let mut rows = stage.executions(run).await;
    // A retry would be a second row: being killed is no failure of the work.
    assert_eq!(rows.len(), HALF * HOSTS.len() + 1 + last, "{rows:#?}");
    rows.extend(stage.executions(&part).await);
    assert_eq!(rows.len(), STEPS * HOSTS.len() + 1 + last, "{rows:#?}");
    for host in HOSTS {
        let lines = host.sh(&format!("cat /var/tmp/{run}; rm /var/tmp/{run}"));
        let mut count: HashMap<&str, usize> = HashMap::new();
        lines
            .lines()
            .for_each(|line| *count.entry(line).or_default() += 1);
        for i in 0..STEPS {
            let (run, step) = (if i < HALF { run } else { &part }, format!("s{i}"));
            assert_eq!(
                count.get(step.as_str()),
                Some(&1),
                "{run} on {}: {count:?}",
                host.0
            );
            assert_eq!(state(&rows, &step, host.0), "Succeeded");
            assert_eq!(stage.log(run, &step, host.0).await, b"done\n");
        }
    }
}
