//! Story: the operator is killed again and again while runs append lines on hosts; each line stands there exactly once and every result is in records.

use std::{collections::HashMap, time::Duration};

use e2e::{
    Guest, Stage, eventually,
    guest::HOSTS,
    stage::{PATIENCE, state},
};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, api::DeleteParams};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

const STEPS: usize = 6;

fn job(run: &str) -> String {
    let step = |i: usize| {
        let needs = if i == 0 {
            String::new()
        } else {
            format!("needs: [s{}], ", i - 1)
        };
        format!(
            "- {{name: s{i}, {needs}inline: {{content: 'echo s{i} >> /var/tmp/{run}; sleep 0.5; echo done'}}}}"
        )
    };
    let steps: Vec<_> = (0..STEPS).map(step).collect();
    format!(
        "targets: {{hosts: {{names: [vm1, pm1]}}}}\nsteps:\n{}",
        steps.join("\n")
    )
}

/// The pod that holds the lease, once there is one that runs.
async fn leader(client: &Client) -> Pod {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "pilothouse-system");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "pilothouse-system");
    let look = || async {
        let holder = leases
            .get("pilothouse-operator")
            .await
            .ok()?
            .spec?
            .holder_identity?;
        let pod = pods.get_opt(&holder).await.ok()??;
        let ready = pod
            .status
            .as_ref()?
            .container_statuses
            .as_ref()?
            .iter()
            .all(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()));
        (ready && pod.metadata.deletion_timestamp.is_none()).then_some(pod)
    };
    eventually("a leader", PATIENCE, look).await
}

/// Ends the leader, in place or for good, so that it or its standby takes over.
async fn kill(client: &Client, in_place: bool) {
    let pod = leader(client).await;
    let name = pod.metadata.name.clone().expect("a pod has a name");
    if !in_place {
        let pods: Api<Pod> = Api::namespaced(client.clone(), "pilothouse-system");
        // Somebody else may have removed it in between; then the leader is gone as well.
        let _ = pods
            .delete(&name, &DeleteParams::default().grace_period(0))
            .await;
        return;
    }
    let node = match pod.spec.and_then(|s| s.node_name).as_deref() {
        Some("node1") => Guest("node1"),
        _ => Guest("node2"),
    };
    let uid = pod.metadata.uid.expect("a pod has a UID").replace('-', "_");
    node.output(&format!(
        "for p in $(pgrep -x operator); do grep -q {uid} /proc/$p/cgroup && kill -9 $p; done; true"
    ));
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
        while done < kills
            && !stage
                .runs()
                .get(&run)
                .await
                .expect("the run is there")
                .is_finished()
        {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..2500))).await;
            kill(&stage.client, random.random_bool(0.6)).await;
            done += 1;
        }
        check(&stage, &run).await;
    }
    assert!(done >= kills);
}

async fn check(stage: &Stage, run: &str) {
    let status = stage.ends(run).await.status.expect("status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    let rows = stage.executions(run).await;
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
