//! Story: the volume of the records fills up. It is told of in time, output goes before rows do, a run waits while nothing can be written, and all goes on once
//! there is room.

use std::time::Duration;

use e2e::{
    Away, Guest, Stage, eventually,
    guest::HOSTS,
    stage::{PATIENCE, SYSTEM},
};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};

/// The store looks at its volume every minute.
const TOLD: Duration = Duration::from_mins(2);

/// What fills the volume, until this is dropped.
struct Filler(Guest);

impl Filler {
    /// Uses so much of the volume, with what is there already.
    fn up_to(percent: u64) -> Self {
        let filler = Self(Guest("node1"));
        filler.0.sh(&format!(
            "cd /var/lib/pilothouse-pv; rm -f filler; set -- $(stat -f -c '%b %a %S' .); fallocate -l $((($1 * {percent} / 100 - $1 + $2) * $3)) filler"
        ));
        filler
    }

    /// Uses all that the file system gives.
    fn to_the_brim() -> Self {
        let filler = Self::up_to(95);
        filler
            .0
            .sh("cat /dev/zero >> /var/lib/pilothouse-pv/filler 2>&1; sync");
        filler
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.0.sh("rm -f /var/lib/pilothouse-pv/filler");
    }
}

fn job(stage: &Stage, run: &str) -> String {
    let file = stage.name();
    format!(
        "targets: {{hosts: {{names: [vm1, pm1]}}}}
steps: [{{name: a, retries: 1, inline: {{content: 'echo {run} >> /var/tmp/{file}; echo done'}}}}]"
    )
}

#[tokio::test]
async fn output_goes_first_then_runs_wait_and_nothing_is_lost() {
    let stage = Stage::set("disk").await;
    stage.hosts_seen().await;
    let events: Api<Event> = Api::namespaced(stage.client.clone(), SYSTEM);
    let filler = Filler::up_to(85);
    let ours = ListParams::default().fields("reason=RecordsVolumeFilling");
    eventually("an Event", TOLD, || async {
        let told = events.list(&ours).await.ok()?;
        (!told.items.is_empty()).then_some(())
    })
    .await;
    stage.run("filling", &job(&stage, "filling")).await;
    stage.ends("filling").await;
    assert_eq!(stage.log("filling", "a", "vm1").await, b"done\n");

    drop(filler);
    let filler = Filler::up_to(93);
    stage.run("scarce", &job(&stage, "scarce")).await;
    let ended = stage.ends("scarce").await.status.expect("status");
    assert_eq!(ended.summary.as_deref(), Some("Succeeded"), "{ended:#?}");
    assert_eq!(stage.log("scarce", "a", "vm1").await, b"");

    drop(filler);
    // A store that works has room in its own files for a while; one that comes back has none.
    let away = Away::store(&stage).await;
    let filler = Filler::to_the_brim();
    drop(away);
    stage.run("full", &job(&stage, "full")).await;
    stage.waits("full", "WaitingForRecords").await;
    let nothing = format!("! grep full /var/tmp/{}", stage.name());
    for host in HOSTS {
        host.sh(&nothing);
    }

    drop(filler);
    let ended = stage.ends("full").await.status.expect("status");
    assert_eq!(ended.summary.as_deref(), Some("Succeeded"), "{ended:#?}");
    for run in ["filling", "scarce", "full"] {
        let rows = stage.executions(run).await;
        assert_eq!(rows.len(), HOSTS.len(), "{rows:#?}");
    }
    for host in HOSTS {
        let lines = host.sh(&format!("cat /var/tmp/{}", stage.name()));
        assert_eq!(lines, "filling\nscarce\nfull\n", "{}", host.0);
    }
    eventually("output that is kept again", PATIENCE, || async {
        let log = stage.log("full", "a", "vm1").await;
        (log == b"done\n").then_some(())
    })
    .await;
}
