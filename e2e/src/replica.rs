//! A process of Pilothouse in its pod: found, killed, removed, stopped, cut off from the API server.

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ContainerStatus, Pod},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Preconditions},
};

use crate::{
    Guest, eventually,
    stage::{PATIENCE, SYSTEM},
};

/// One pod, as it was when it was found.
pub struct Replica {
    pods: Api<Pod>,
    program: &'static str,
    name: String,
    uid: String,
    ip: String,
    node: Guest,
    restarts: i32,
}

impl Replica {
    /// Waits until an operator has renewed the lease since its container was started, so that one that was just killed is not taken for it.
    pub async fn leader(client: &Client) -> Self {
        let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
        let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM);
        let look = || async {
            let lease = leases.get("pilothouse-operator").await.ok()?.spec?;
            let pod = pods.get_opt(&lease.holder_identity?).await.ok()??;
            let since = started(&pod)?;
            let leads = lease.renew_time?.0 > since && pod.metadata.deletion_timestamp.is_none();
            leads.then(|| Self::of(&pods, &pod, "operator"))?
        };
        eventually("a leader", PATIENCE, look).await
    }

    /// Waits until the store runs.
    pub async fn store(client: &Client) -> Self {
        Self::of_component(client, "server").await
    }

    /// Waits until a front runs.
    pub async fn front(client: &Client) -> Self {
        Self::of_component(client, "front").await
    }

    async fn of_component(client: &Client, component: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), SYSTEM);
        let ours = format!("app.kubernetes.io/component={component}");
        let look = || async {
            let all = pods.list(&ListParams::default().labels(&ours)).await.ok()?;
            let runs =
                |pod: &&Pod| started(pod).is_some() && pod.metadata.deletion_timestamp.is_none();
            Self::of(&pods, all.iter().find(runs)?, "server")
        };
        eventually(component, PATIENCE, look).await
    }

    fn of(pods: &Api<Pod>, pod: &Pod, program: &'static str) -> Option<Self> {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        Some(Self {
            pods: pods.clone(),
            program,
            name: pod.name_any(),
            uid: pod.uid().expect("a pod has a UID"),
            ip: pod.status.as_ref()?.pod_ip.clone()?,
            node: match node {
                Some("node1") => Guest("node1"),
                _ => Guest("node2"),
            },
            restarts: container(pod)?.restart_count,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends it in place; says whether a process was really killed.
    pub async fn killed(&self) -> bool {
        let hit = self.signal("KILL");
        if hit {
            self.ended().await;
        }
        hit
    }

    /// Removes it for good, with no time to give anything back; says whether the removal took place.
    pub async fn removed(&self) -> bool {
        let this_one = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(self.uid.clone()),
                ..Preconditions::default()
            }),
            ..DeleteParams::default().grace_period(0)
        };
        let removal = self.pods.delete(&self.name, &this_one).await;
        let struck = self.signal("KILL");
        removal.is_ok() || struck
    }

    /// Waits until its process of that time has ended.
    pub async fn ended(&self) {
        let ended = || async {
            let pod = self.pods.get_opt(&self.name).await.ok()?;
            let same = pod.filter(|pod| pod.uid().as_ref() == Some(&self.uid));
            let runs = |c: &ContainerStatus| {
                c.restart_count == self.restarts
                    && c.state.as_ref().is_some_and(|s| s.running.is_some())
            };
            let still = same.as_ref().and_then(container).is_some_and(runs);
            (!still).then_some(())
        };
        eventually("end of its container", PATIENCE, ended).await;
    }

    /// Sends its process a signal, on its node; says whether there was one.
    pub fn signal(&self, signal: &str) -> bool {
        // The name of the control group spells the UID with dashes or underscores, depending on the driver.
        let (uid, program) = (self.uid.replace('-', "."), self.program);
        let script = format!(
            "for p in $(pgrep -x {program}); do grep -q {uid} /proc/$p/cgroup && kill -{signal} $p && echo $p; done; true"
        );
        let hit = self.node.sh(&script);
        println!("{} on {}: SIG{signal} hit {hit:?}", self.name, self.node.0);
        !hit.trim().is_empty()
    }

    /// Drops every packet between it and the API server for as long as the cut is kept.
    pub fn cut_off(&self) -> CutOff {
        let cut = CutOff {
            node: self.node,
            ip: self.ip.clone(),
        };
        cut.rules("I");
        cut
    }
}

/// Packets that are being dropped.
pub struct CutOff {
    node: Guest,
    ip: String,
}

impl CutOff {
    fn rules(&self, verb: &str) {
        let (node, ip) = (self.node, &self.ip);
        node.sh(&format!(
            "iptables -{verb} FORWARD -s {ip} -p tcp --dport 6443 -j DROP; iptables -{verb} FORWARD -d {ip} -p tcp --sport 6443 -j DROP"
        ));
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        self.rules("D");
    }
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// Since when its container runs.
fn started(pod: &Pod) -> Option<jiff::Timestamp> {
    let running = container(pod)?.state.as_ref()?.running.as_ref()?;
    Some(running.started_at.as_ref()?.0)
}
