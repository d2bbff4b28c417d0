//! Story: whatever is wrong is named, with the field and the way out, and the others are not affected.

use crds::v1alpha1::{Host, find_condition};
use e2e::{
    Guest, Manifest, Stage,
    stage::{PATIENCE, refusal, state},
    wait_for,
};
use jiff::Timestamp;
use kube::Api;
use serde_json::json;

/// What is kept of an execution's output.
const KEPT: u64 = 1 << 20;
/// What the script prints that prints too much.
const FLOOD: u64 = 1 << 30;

#[tokio::test]
async fn mistakes_of_a_run_are_refused_with_the_field_and_the_fix() {
    let stage = Stage::set("refused").await;
    let hosts = "targets: {hosts: {names: [vm1]}}\n";
    for (name, job, reason, words) in [
        (
            "cycle",
            "steps: [{name: a, needs: [b], inline: {content: x}}, {name: b, needs: [a], inline: {content: x}}]",
            "CycleInNeeds",
            "a -> b -> a",
        ),
        (
            "script",
            "steps: [{name: a, script: {name: none}}]",
            "ScriptNotFound",
            "none",
        ),
        (
            "template",
            "steps: [{name: a, inline: {content: x, env: {A: '{{ params.nope }}'}}}]",
            "UnknownValue",
            "params.nope",
        ),
        (
            "target",
            "steps: [{name: a, targets: {hosts: {names: [ghost]}}, inline: {content: x}}]",
            "TargetNotFound",
            "ghost",
        ),
        (
            "required",
            "parameters: [{name: unit, required: true}]\nsteps: [{name: a, inline: {content: x}}]",
            "MissingParameter",
            "unit",
        ),
    ] {
        stage.run(name, &format!("{hosts}{job}")).await;
        let (found, message) = refusal(&stage.ends(name).await);
        assert_eq!(found, reason, "{name}: {message}");
        assert!(message.contains(words), "{name}: {message}");
    }
}

#[tokio::test]
async fn parameters_and_secrets_that_are_not_there_are_named() {
    let stage = Stage::set("secrets").await;
    stage.secret("tokens", "Opaque", &[("a", "value")]).await;
    let job = json!({"targets": {"hosts": {"names": ["vm1"]}}, "parameters": [{"name": "token", "sensitive": true}], "steps": [{"name": "a", "inline": {"content": "x"}}]});
    for (name, parameters, secrets, reason) in [
        (
            "unknown",
            json!({"other": "1"}),
            json!({}),
            "UnknownParameter",
        ),
        (
            "plain",
            json!({"token": "x"}),
            json!({}),
            "SensitiveInPlain",
        ),
        (
            "no-secret",
            json!({}),
            json!({"token": {"name": "none", "key": "a"}}),
            "MissingSecret",
        ),
        (
            "no-key",
            json!({}),
            json!({"token": {"name": "tokens", "key": "b"}}),
            "MissingSecretKey",
        ),
        ("no-job", json!({}), json!({}), "MissingParameter"),
    ] {
        let run = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "JobRun", "metadata": {"name": name},
            "spec": {"job": job, "parameters": parameters, "secretParameters": secrets}});
        Manifest::from_json(run)
            .within(stage.name())
            .create(&stage.client)
            .await
            .expect("the schema takes it");
        let (found, message) = refusal(&stage.ends(name).await);
        assert_eq!(found, reason, "{message}");
    }
}

#[tokio::test]
async fn two_hundred_and_one_targets_are_refused_with_the_number() {
    let stage = Stage::set("many").await;
    for i in 0..201 {
        let host = json!({"apiVersion": "pilothouse.dev/v1alpha1", "kind": "Host", "metadata": {"name": format!("h{i}"), "labels": {"many": "yes"}},
            "spec": {"type": "VirtualMachine", "address": "127.9.9.9", "credentialsRef": {"name": "none"}, "hostKeyPolicy": "TrustOnFirstUse"}});
        Manifest::from_json(host)
            .within(stage.name())
            .create(&stage.client)
            .await
            .expect("a host is accepted");
    }
    stage.run("many", "targets: {hosts: {selector: {matchLabels: {many: 'yes'}}}}\nsteps: [{name: a, inline: {content: x}}]").await;
    let (reason, message) = refusal(&stage.ends("many").await);
    assert_eq!(reason, "TooManyTargets");
    assert!(message.contains("201"), "{message}");
}

const STRANGE_HOSTS: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: wrong-key}
spec: {type: VirtualMachine, address: 172.31.250.21, credentialsRef: {name: fleet-key}, hostKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGeKNsmVUmvdWZ7aiClLcFbrwpSX0HJQGvNO8TzUQnx4"]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: wrong-password}
spec: {type: VirtualMachine, address: 172.31.250.22, user: limited, credentialsRef: {name: wrong-password}, hostKeys: ["HOSTKEY"]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: down}
spec: {type: PhysicalMachine, address: 172.31.250.99, credentialsRef: {name: fleet-key}, hostKeys: ["HOSTKEY"]}
"#;

#[tokio::test]
async fn hosts_that_cannot_be_worked_on_are_named_and_the_others_go_on() {
    let stage = Stage::set("strange").await;
    stage.hosts_seen().await;
    stage
        .secret(
            "wrong-password",
            "pilothouse.dev/ssh",
            &[
                ("password", "not-the-one"),
                ("addresses", "172.31.250.0/24"),
            ],
        )
        .await;
    let key = Guest("pm1").sh("ssh-keygen -y -f /etc/ssh/ssh_host_ed25519_key");
    stage
        .apply(&STRANGE_HOSTS.replace("HOSTKEY", key.trim()))
        .await;
    let job = "targets: {hosts: {names: [vm1, wrong-key, wrong-password, down]}}\nstrategy: {maxFailures: 3}\nsteps: [{name: a, deliveryTimeout: 15s, inline: {content: echo fine}}]";
    stage.run("strange", job).await;
    let status = stage.ends("strange").await.status.expect("status");
    assert_eq!(
        status.summary.as_deref(),
        Some("Succeeded"),
        "three failures are tolerated: {status:#?}"
    );
    let rows = stage.executions("strange").await;
    let reason = |target: &str| {
        rows.iter()
            .find(|r| r["target"] == target)
            .map(|r| (r["state"].clone(), r["reason"].clone()))
            .expect("a row")
    };
    assert_eq!(state(&rows, "a", "vm1"), "Succeeded");
    assert_eq!(
        reason("wrong-key"),
        (json!("Undeliverable"), json!("HostKeyMismatch"))
    );
    assert_eq!(
        reason("wrong-password"),
        (json!("Undeliverable"), json!("AuthRejected"))
    );
    assert_eq!(reason("down").0, json!("DeliveryTimedOut"));
}

const MISDESCRIBED_HOSTS: &str = r#"
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: malformed-host-key}
spec: {type: VirtualMachine, address: 172.31.250.21, credentialsRef: {name: fleet-key}, hostKeys: ["ssh-ed25519 this-is-no-key"]}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: no-secret}
spec: {type: VirtualMachine, address: 172.31.250.21, credentialsRef: {name: nowhere}, hostKeyPolicy: TrustOnFirstUse}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: wrong-type}
spec: {type: VirtualMachine, address: 172.31.250.21, credentialsRef: {name: opaque}, hostKeyPolicy: TrustOnFirstUse}
---
apiVersion: pilothouse.dev/v1alpha1
kind: Host
metadata: {name: malformed-key}
spec: {type: VirtualMachine, address: 172.31.250.21, credentialsRef: {name: garbled}, hostKeyPolicy: TrustOnFirstUse}
"#;

/// A Secret that lacks a key is refused at the door, as policies.rs shows; one whose key is no key comes this far.
#[tokio::test]
async fn hosts_that_are_described_wrongly_say_which_field_secret_and_key() {
    let stage = Stage::set("misdescribed").await;
    let addresses = ("addresses", "172.31.250.0/24");
    stage.secret("opaque", "Opaque", &[addresses]).await;
    let ssh = "pilothouse.dev/ssh";
    stage
        .secret("garbled", ssh, &[addresses, ("ssh-privatekey", "no key")])
        .await;
    stage.apply(MISDESCRIBED_HOSTS).await;
    for (host, reason, words) in [
        (
            "malformed-host-key",
            "BadCredential",
            ["spec.hostKeys", "this-is-no-key"],
        ),
        ("no-secret", "MissingSecret", ["credentialsRef", "nowhere"]),
        ("wrong-type", "WrongSecretType", ["opaque", ssh]),
        (
            "malformed-key",
            "BadCredential",
            ["garbled", "ssh-privatekey"],
        ),
    ] {
        let (found, message) = unreachable(&stage, host).await;
        assert_eq!(found, reason, "{host}: {message}");
        for word in words {
            assert!(message.contains(word), "{host}: no {word} in: {message}");
        }
    }
}

/// Why a host is not reachable, once it was looked at.
async fn unreachable(stage: &Stage, name: &str) -> (String, String) {
    let api: Api<Host> = Api::namespaced(stage.client.clone(), stage.name());
    let condition = |host: Option<&Host>| {
        let status = host?.status.as_ref()?;
        find_condition(&status.conditions, "Reachable")
            .filter(|c| c.status == "False")
            .cloned()
    };
    let told = |host: Option<&Host>| condition(host).is_some();
    let host = wait_for(api, name, "Reachable=False", PATIENCE, told).await;
    let told = condition(Some(&host)).expect("it was waited for");
    (told.reason, told.message)
}

#[tokio::test]
async fn scripts_that_misbehave_are_bounded_and_reported() {
    let stage = Stage::set("scripts").await;
    stage.hosts_seen().await;
    let job = r#"
targets: {hosts: {names: [vm1]}}
strategy: {maxFailures: 100%, maxParallel: 8}
steps:
- {name: forks, inline: {content: 'sleep 9999 & echo forked'}}
- {name: endless, timeout: 5s, inline: {content: 'while true; do sleep 1; done'}}
- {name: binary, inline: {content: 'printf "\000\377\033[31m\200"'}}
- {name: fine, inline: {content: 'echo fine'}}
"#;
    stage.run("scripts", job).await;
    stage.ends("scripts").await;
    let rows = stage.executions("scripts").await;
    for (step, wanted) in [
        ("forks", "Succeeded"),
        ("endless", "TimedOut"),
        ("binary", "Succeeded"),
        ("fine", "Succeeded"),
    ] {
        assert_eq!(state(&rows, step, "vm1"), wanted, "{rows:#?}");
    }
    assert_eq!(
        stage.log("scripts", "binary", "vm1").await,
        b"\0\xff\x1b[31m\x80",
        "every byte is kept as it was"
    );
    let left = Guest("vm1").output("pgrep -f 'sleep 9999'");
    assert!(
        !left.status.success(),
        "what was left in the background has been ended"
    );
}

#[tokio::test]
async fn a_gigabyte_of_output_is_counted_and_a_megabyte_of_it_is_kept() {
    let stage = Stage::set("flood").await;
    stage.hosts_seen().await;
    let job = r#"
targets: {hosts: {names: [vm1]}}
steps: [{name: floods, timeout: 10m, inline: {content: 'head -c 1073741824 /dev/zero | tr "\0" x'}}]
"#;
    stage.run("flood", job).await;
    stage.ends("flood").await;
    let rows = stage.executions("flood").await;
    assert_eq!(state(&rows, "floods", "vm1"), "Succeeded", "{rows:#?}");
    let at = |field: &str| -> Timestamp {
        let time = rows[0][field].as_str().expect("a time");
        time.parse().expect("a time in RFC 3339")
    };
    println!("1 GiB took {}", at("finishedAt") - at("startedAt"));
    assert_eq!(rows[0]["outputBytes"], FLOOD);
    let dropped = rows[0]["droppedBytes"].as_u64().expect("a number");
    assert!((FLOOD - KEPT..FLOOD).contains(&dropped), "{rows:#?}");
    let log = stage.log("flood", "floods", "vm1").await;
    let log = String::from_utf8(log).expect("it is text");
    let note = format!("\n[{dropped} bytes of output were not kept]\n");
    let (head, tail) = log
        .split_once(&note)
        .expect("the log says what is not in it");
    let kept = u64::try_from(head.len() + tail.len()).expect("it is small");
    assert_eq!(kept, FLOOD - dropped);
    assert!(
        [head, tail]
            .iter()
            .all(|part| part.bytes().all(|b| b == b'x'))
    );
}

/// Fills the disk that the toolkit writes to, until it goes out of scope.
struct FullDisk(Guest);

impl FullDisk {
    fn on(host: Guest) -> Self {
        let full = Self(host);
        host.sh("mkdir -p /var/lib/pilothouse && mount -t tmpfs -o size=64k,mode=700 tmpfs /var/lib/pilothouse && (head -c 1000000 /dev/zero > /var/lib/pilothouse/fill; true)");
        full
    }
}

impl Drop for FullDisk {
    /// Lazily, since what the operator started may still look at it.
    fn drop(&mut self) {
        let freed = self.0.output("umount -l /var/lib/pilothouse");
        if !freed.status.success() {
            eprintln!("the disk of {} stays full", self.0.0);
        }
    }
}

#[tokio::test]
async fn a_full_disk_on_the_host_is_reported_before_anything_is_started() {
    let stage = Stage::set("full").await;
    stage.hosts_seen().await;
    let host = Guest("pm1");
    let full = FullDisk::on(host);
    stage.run("full", "targets: {hosts: {names: [pm1]}}\nsteps: [{name: a, inline: {content: 'touch /var/tmp/started'}}]").await;
    let ended = stage.ends("full").await;
    drop(full);
    assert_eq!(refusal(&ended).0, "StepsFailed");
    let rows = stage.executions("full").await;
    assert_eq!(state(&rows, "a", "pm1"), "Undeliverable", "{rows:#?}");
    assert!(
        rows[0]["message"]
            .as_str()
            .is_some_and(|m| m.contains("pilothouse") || m.contains("space")),
        "{rows:#?}"
    );
    assert!(!host.output("test -e /var/tmp/started").status.success());
}
