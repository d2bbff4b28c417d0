//! Story: two runs that would touch the same machine do not meet there, whatever name each knows it by.

use e2e::{Stage, eventually, stage::PATIENCE};

const OTHER_NAME: &str = r"
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: alias}
spec: {type: VirtualMachine, address: 172.31.250.21, credentialsRef: {name: fleet-key}, hostKeyPolicy: TrustOnFirstUse}
";

fn job(host: &str, sharing: &str) -> String {
    format!(
        "targets: {{hosts: {{names: [{host}]}}}}\nsharing: {sharing}\nsteps: [{{name: s, inline: {{content: 'while [ ! -e /tmp/go-on ]; do sleep 0.2; done'}}}}]"
    )
}

#[tokio::test]
async fn the_second_run_waits_for_the_first_unless_both_share() {
    let stage = Stage::set("locks").await;
    stage.apply(OTHER_NAME).await;
    stage.hosts_seen().await;
    stage.reachable("alias").await;
    let vm1 = e2e::Guest("vm1");
    vm1.sh("rm -f /tmp/go-on");
    stage.run("first", &job("vm1", "Exclusive")).await;
    stage.becomes("first", &["Running"]).await;
    stage.run("second", &job("alias", "Exclusive")).await;
    let told = stage.waits("second", "WaitingForMachine").await;
    assert!(told.contains("first"), "{told}");
    vm1.sh("touch /tmp/go-on");
    for run in ["first", "second"] {
        assert_eq!(
            stage
                .ends(run)
                .await
                .status
                .and_then(|s| s.summary)
                .as_deref(),
            Some("Succeeded")
        );
    }
    vm1.sh("rm -f /tmp/go-on");
    stage.run("third", &job("vm1", "Shared")).await;
    stage.run("fourth", &job("alias", "Shared")).await;
    let both = || async {
        let (a, b) = (
            stage.executions("third").await,
            stage.executions("fourth").await,
        );
        (a.len() == 1 && b.len() == 1).then_some(())
    };
    eventually("both runs on the machine", PATIENCE, both).await;
    vm1.sh("touch /tmp/go-on");
    for run in ["third", "fourth"] {
        stage.ends(run).await;
    }
    vm1.sh("rm -f /tmp/go-on");
}
