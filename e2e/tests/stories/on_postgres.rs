//! Story: records are kept in PostgreSQL, by several pods of the store. One of them is killed, then PostgreSQL itself, and stays away; runs wait and say so, nothing is lost and nothing is repeated.

use std::time::Duration;

use e2e::{
    Guest, Manifest, Release, Replica, Stage, eventually,
    guest::HOSTS,
    postgres::Postgres,
    stage::{PATIENCE, SYSTEM, state},
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::DeleteParams};
use serde_json::json;

/// Appends a line, and is at it for a while.
const JOB: &str = "
targets: {hosts: {names: [vm1, pm1]}}
steps:
- {name: first, inline: {content: 'echo first >> /var/tmp/RUN; sleep 3; echo done'}}
- {name: second, needs: [first], inline: {content: 'echo second >> /var/tmp/RUN; echo done'}}";

async fn start(stage: &Stage, run: &str) {
    stage.run(run, &JOB.replace("RUN", run)).await;
    eventually("the first effect", PATIENCE, || async {
        let seen = Guest("vm1").sh(&format!("cat /var/tmp/{run} 2>/dev/null; true"));
        seen.contains("first").then_some(())
    })
    .await;
}

/// The run has ended well, each effect has happened once, and all of it is in PostgreSQL.
async fn is_right(stage: &Stage, postgres: &Postgres, run: &str) {
    let status = stage.ends(run).await.status.expect("a status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    let rows = stage.executions(run).await;
    assert_eq!(rows.len(), 4, "{rows:#?}");
    for host in HOSTS {
        for step in ["first", "second"] {
            assert_eq!(state(&rows, step, host.0), "Succeeded");
            assert_eq!(stage.log(run, step, host.0).await, b"done\n");
        }
        let lines = host.sh(&format!("cat /var/tmp/{run}; rm /var/tmp/{run}"));
        assert_eq!(lines, "first\nsecond\n", "{}", host.0);
    }
    let kept = postgres.sql(&format!(
        "SELECT count(*) FROM executions WHERE run = '{run}'"
    ));
    assert_eq!(kept, "4");
}

#[tokio::test]
async fn records_are_in_postgresql_and_survive_its_absence() {
    let away = match std::env::var_os("PILOTHOUSE_E2E_LONG") {
        Some(_) => Duration::from_mins(10),
        None => Duration::from_secs(20),
    };
    let stage = Stage::set("postgres").await;
    stage.hosts_seen().await;
    let mut postgres = Postgres::start();
    let url = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pilothouse-records"}, "stringData": {"url": postgres.url()}});
    let url = Manifest::from_json(url).within(SYSTEM);
    url.apply(&stage.client)
        .await
        .expect("an administrator keeps a Secret");
    let release = Release::as_it_is();
    release
        .upgrade(&json!({"records": {"postgres": {"secretRef": {"name": "pilothouse-records"}}}}));
    let stores = Api::<Deployment>::namespaced(stage.client.clone(), SYSTEM);
    let store = stores
        .get("pilothouse-server")
        .await
        .expect("it has no volume");
    assert_eq!(store.status.and_then(|s| s.ready_replicas), Some(2));

    let run = |n: &str| format!("{}-{n}", stage.name());
    start(&stage, &run("one")).await;
    assert!(Replica::store(&stage.client).await.killed().await);
    is_right(&stage, &postgres, &run("one")).await;

    start(&stage, &run("two")).await;
    postgres.kill();
    let job = "targets: {hosts: {names: [pm1]}}\nsteps: [{name: a, inline: {content: echo done}}]";
    tokio::time::sleep(away).await;
    stage.run("late", job).await;
    stage.waits("late", "WaitingForRecords").await;
    postgres.up();
    is_right(&stage, &postgres, &run("two")).await;
    let late = stage.ends("late").await.status.expect("a status");
    assert_eq!(late.summary.as_deref(), Some("Succeeded"), "{late:#?}");

    drop(release);
    let secrets = url.api(&stage.client).await.expect("Secrets are served");
    let (name, now) = ("pilothouse-records", DeleteParams::default());
    secrets.delete(name, &now).await.expect("nobody reads it");
}
