//! Story: the operator is killed again and again while runs append lines on hosts; each line stands there exactly once and every result is in records.

use std::{collections::HashMap, time::Duration};

use e2e::{
    Guest, Stage, eventually,
    guest::HOSTS,
    stage::{PATIENCE, state},
    wait_for,
};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ContainerStatus, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Preconditions},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const SYSTEM: &str = "pilothouse-system";
const STEPS: usize = 6;

fn job(run: &str) -> String {
    let step = |i: usize| {
        let needs = if i == 0 {
            String::new()
        } else {
            format!("needs: [s{}], ", i - 1)
        };
        format!(
            "- {{name: s{i}, {needs}retries: 1, inline: {{content: 'echo s{i} >> /var/tmp/{run}; sleep 0.5; echo done'}}}}"
        )
    };
    let steps: Vec<_> = (0..STEPS).map(step).collect();
    format!(
        "targets: {{hosts: {{names: [vm1, pm1]}}}}\nsteps:\n{}",
        steps.join("\n")
    )
}

/// The operator that leads.
struct Leader {
    pods: Api<Pod>,
    name: String,
    uid: String,
    node: Guest,
    restarts: i32,
}

impl Leader {
    /// Waits until a pod has renewed the lease since its container was started, so that one that was just killed is not taken for it.
    async fn find(client: &Client) -> Self {
        let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
        let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM);
        let look = || async {
            let lease = leases.get("pilothouse-operator").await.ok()?.spec?;
            let pod = pods.get_opt(&lease.holder_identity?).await.ok()??;
            let container = container(&pod)?;
            let since = container
                .state
                .as_ref()?
                .running
                .as_ref()?
                .started_at
                .as_ref()?;
            let leads = lease.renew_time?.0 > since.0 && pod.metadata.deletion_timestamp.is_none();
            leads.then(|| Self::of(&pods, &pod, container.restart_count))
        };
        eventually("a leader", PATIENCE, look).await
    }

    fn of(pods: &Api<Pod>, pod: &Pod, restarts: i32) -> Self {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        Self {
            pods: pods.clone(),
            name: pod.name_any(),
            uid: pod.uid().expect("a pod has a UID"),
            node: match node {
                Some("node1") => Guest("node1"),
                _ => Guest("node2"),
            },
            restarts,
        }
    }

    /// Ends it in place; says whether a process was really killed.
    async fn killed(&self) -> bool {
        if !self.strike() {
            return false;
        }
        let changed = |pod: Option<&Pod>| {
            let container = pod.and_then(container);
            container.is_none_or(|c| {
                c.restart_count > self.restarts
                    || c.state.as_ref().is_none_or(|s| s.running.is_none())
            })
        };
        wait_for(
            self.pods.clone(),
            &self.name,
            "end of its container",
            PATIENCE,
            changed,
        )
        .await;
        true
    }

    /// Removes it for good, with no time to give the lease back; says whether the removal took place.
    async fn removed(&self) -> bool {
        let this_one = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                ..Preconditions::default()
            }),
            ..DeleteParams::default().grace_period(0)
        };
        let removal = self.pods.delete(&self.name, &this_one).await;
        let struck = self.strike();
        removal.is_ok() || struck
    }

    /// kill -9 on its node, which says whom it hit.
    fn strike(&self) -> bool {
        // The name of the control group spells the UID with dashes or underscores, depending on the driver.
        let uid = self.uid.replace('-', ".");
        let script = format!(
            "for p in $(pgrep -x operator); do grep -q {uid} /proc/$p/cgroup && kill -9 $p && echo $p; done; true"
        );
        let hit = self.node.sh(&script);
        println!("{} on {}: kill -9 hit {hit:?}", self.name, self.node.0);
        !hit.trim().is_empty()
    }
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// Kills the leader at random instants while the run is on its way; the number of kills that fell into it, at most as many as wanted.
async fn kill_during(stage: &Stage, run: &str, random: &mut StdRng, wanted: usize) -> usize {
    let mut kills = 0;
    while kills < wanted {
        let leader = Leader::find(&stage.client).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..2500))).await;
        if has_ended(stage, run).await {
            break;
        }
        let hit = if random.random_bool(0.6) {
            leader.killed().await
        } else {
            leader.removed().await
        };
        if has_ended(stage, run).await {
            break;
        }
        kills += usize::from(hit);
    }
    kills
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
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stage = Stage::set("once").await;
    stage.hosts_seen().await;
    let (mut done, mut number) = (0, 0);
    while done < kills {
        number += 1;
        let run = format!("{}-{number}", stage.name());
        stage.run(&run, &job(&run)).await;
        eventually("the first effect", PATIENCE, || async {
            (!stage.executions(&run).await.is_empty()).then_some(())
        })
        .await;
        done += kill_during(&stage, &run, &mut random, kills - done).await;
        println!("{done} kills in {number} runs");
        check(&stage, &run).await;
    }
}

async fn check(stage: &Stage, run: &str) {
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    let rows = stage.executions(run).await;
    // A retry would be a second row: being killed is no failure of the work.
    assert_eq!(rows.len(), STEPS * HOSTS.len(), "{rows:#?}");
    for host in HOSTS {
        let lines = host.sh(&format!("cat /var/tmp/{run}; rm /var/tmp/{run}"));
        let mut count: HashMap<&str, usize> = HashMap::new();
        lines
            .lines()
            .for_each(|line| *count.entry(line).or_default() += 1);
        for step in (0..STEPS).map(|i| format!("s{i}")) {
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
