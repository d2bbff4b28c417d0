//! Nobody borrows the rights of an account.

use e2e::{Cluster, People, TestNamespace, accepted, refused};
use serde_json::json;

use super::{host, planned, run, schedule, solution, ticket, writer};

#[tokio::test]
async fn work_is_done_only_as_an_account_that_its_writer_may_impersonate() {
    let scene = People::new("account").await;
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    let writer = scene
        .person_with("bob", json!([writer()]), ("create", "jobruns"), None)
        .await;

    accepted(
        scene
            .write(run("pilothouse-runner"))
            .try_create(&alice)
            .await,
    );
    accepted(scene.write(host(&json!({}))).try_create(&alice).await);
    let scheduled = scene.write(schedule("pilothouse-runner"));
    accepted(scheduled.try_create(&alice).await);
    let change = scene.write(planned("pilothouse-runner"));
    accepted(change.try_create(&alice).await);
    let solved = scene.write(solution("pilothouse-runner"));
    accepted(solved.try_create(&alice).await);
    let message = [
        "Rule pilothouse-account",
        "may not impersonate service account 'pilothouse-runner'",
        "Name an account that you may impersonate",
    ];
    refused(
        scene
            .write(run("pilothouse-runner"))
            .try_create(&writer)
            .await,
        &message,
    );
    refused(
        scene.write(host(&json!({}))).try_create(&writer).await,
        &message,
    );
    refused(scheduled.try_create(&writer).await, &message);
    refused(change.try_create(&writer).await, &message);
    refused(solved.try_create(&writer).await, &message);
    let by_hand = scene.write(ticket(&json!({"guide": "g"})));
    accepted(by_hand.try_create(&writer).await);
    refused(
        scene.write(run("cluster-admin")).try_create(&alice).await,
        &["service account 'cluster-admin'"],
    );
}

#[tokio::test]
async fn a_schedule_and_a_ticket_create_runs_only_for_those_who_may_create_them() {
    let scene = People::new("creates").await;
    let rules = json!([{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": ["pilothouse.dev"], "resources": ["scheduledtasks", "changetickets", "changesolutions"], "verbs": ["create"]}]);
    let bob = scene
        .person_with("bob", rules, ("impersonate", "serviceaccounts"), None)
        .await;
    let refusal = ["Rule pilothouse-account", "may not create jobruns"];
    let task = scene.write(schedule("pilothouse-runner"));
    refused(task.try_create(&bob).await, &refusal);
    let change = scene.write(planned("pilothouse-runner"));
    refused(change.try_create(&bob).await, &refusal);
    let uses = scene.write(ticket(&json!({"solution": {"name": "no-such-solution"}})));
    refused(uses.try_create(&bob).await, &refusal);
    let solved = scene.write(solution("pilothouse-runner"));
    refused(solved.try_create(&bob).await, &refusal);
    let alice = scene
        .person("alice", "pilothouse-admin", ("create", "jobruns"))
        .await;
    accepted(task.try_create(&alice).await);
}

#[tokio::test]
async fn the_clusters_own_accounts_are_nobodys() {
    let cluster = Cluster::connect().await;
    let scene = People {
        namespace: TestNamespace::create(&cluster, "own").await,
        cluster,
    };
    let administrator = scene.cluster.client();
    for namespace in ["kube-system", "pilothouse-system"] {
        let answer = scene
            .write(run("pilothouse-runner"))
            .within(namespace)
            .try_create(&administrator)
            .await;
        refused(
            answer,
            &[
                "Rule pilothouse-account",
                "whose accounts are the cluster's own",
            ],
        );
    }
    accepted(
        scene
            .write(run("pilothouse-runner"))
            .try_create(&administrator)
            .await,
    );
}
