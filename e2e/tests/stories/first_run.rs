//! Story: what `cargo xtask up` applied has done real work, once, on two hosts and three pods.

use crds::v1alpha1::JobRun;
use e2e::{Cluster, stage::PATIENCE, wait_for};
use kube::Api;
use serde_json::Value;

#[tokio::test]
async fn the_first_run_succeeds_on_two_hosts_and_three_pods() {
    let cluster = Cluster::connect().await;
    let client = cluster.client();
    let runs: Api<JobRun> = Api::namespaced(client.clone(), "first-run");
    let run = wait_for(
        runs,
        "first-run",
        "an end",
        PATIENCE,
        |r: Option<&JobRun>| r.is_some_and(JobRun::is_finished),
    )
    .await;
    let status = run.status.expect("a finished run has a status");
    assert_eq!(status.summary.as_deref(), Some("Succeeded"), "{status:#?}");
    assert_eq!(status.progress.as_deref(), Some("5/5"));
    let request = http::Request::get("/apis/records.pilothouse.dev/v1alpha1/namespaces/first-run/executions?labelSelector=pilothouse.dev/run%3Dfirst-run")
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .expect("a literal request");
    let table: Value = client
        .request(request)
        .await
        .expect("records answer with a table");
    assert_eq!(table["kind"], "Table");
    let rows = table["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5, "{table:#}");
    assert!(
        rows.iter().all(|row| row["cells"]
            .as_array()
            .is_some_and(|cells| cells.iter().any(|c| c == "Succeeded"))),
        "{table:#}"
    );
}
