//! Keeps connections for users away from the cluster's own addresses: nodes and their pods as they come and go, Services, the API server; and from what somebody in charge has named.

use std::{net::IpAddr, pin::pin, time::Duration};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{core::v1::Node, discovery::v1::EndpointSlice, networking::v1::ServiceCIDR};
use kube::{
    Api, Client, ResourceExt as _,
    api::ListParams,
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use reach::off_limits::{Avoided, OffLimits, Range, Whose};
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};

use crate::error::{Result, chain, observing};

/// How often Services' ranges and the API server's addresses are read; they hardly ever change.
const EVERY: Duration = Duration::from_mins(5);
/// Changes of nodes that are taken in together.
const TOGETHER: usize = 1024;

/// What somebody in charge says of ranges.
pub struct Named {
    pub allowed: Vec<Range>,
    pub denied: Vec<Range>,
}

impl Named {
    /// These, and what was found.
    pub fn and(&self, found: impl Iterator<Item = (Range, Whose)>) -> OffLimits {
        let denied = self.denied.iter().map(|range| (*range, Whose::Denied));
        OffLimits::new(found.chain(denied).collect(), self.allowed.clone())
    }
}

/// Returns once it is known what to avoid, and keeps it up to date from then on.
pub async fn watch(client: Client, avoided: Avoided, named: Named) -> Result<()> {
    let fixed = fixed(&client).await?;
    let (known, ready) = oneshot::channel();
    tokio::spawn(keep(client, avoided, named, fixed, known));
    // Only a process that ends leaves it unanswered.
    let _ = ready.await;
    Ok(())
}

async fn keep(
    client: Client,
    avoided: Avoided,
    named: Named,
    mut fixed: Vec<(Range, Whose)>,
    known: oneshot::Sender<()>,
) {
    let (nodes, writer) = reflector::store();
    let all = watcher(Api::<Node>::all(client.clone()), watcher::Config::default());
    let all = all.inspect_err(
        |error| tracing::warn!(error = %chain(error), "nodes cannot be watched; trying again"),
    );
    let slim = all.default_backoff().modify(|node| {
        node.metadata.managed_fields = None;
        if let Some(status) = &mut node.status {
            status.images = None;
        }
    });
    let mut changes = pin!(slim.reflect(writer).ready_chunks(TOGETHER));
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock.tick().await;
    let mut known = Some(known);
    loop {
        tokio::select! {
            _ = changes.next() => {}
            _ = clock.tick() => match self::fixed(&client).await {
                Ok(read) => fixed = read,
                Err(error) => tracing::warn!(error = %chain(&error), "the cluster's own addresses cannot be read; those read before hold"),
            },
        }
        // Before all nodes were listed once, none may be judged.
        if nodes.wait_until_ready().now_or_never().is_none() {
            continue;
        }
        let of_nodes = nodes.state().into_iter().flat_map(|node| of_node(&node));
        avoided.set(named.and(fixed.iter().cloned().chain(of_nodes)));
        known.take().map(|known| known.send(()));
    }
}

/// A node's addresses, and those of the pods on it.
fn of_node(node: &Node) -> Vec<(Range, Whose)> {
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_ref());
    let addresses = addresses.into_iter().flatten();
    // Names among them are no ranges.
    let own = addresses.filter_map(|address| address.address.parse().ok());
    let spec = node.spec.as_ref();
    let pods = spec.and_then(|spec| spec.pod_cidrs.as_ref());
    let pods = pods
        .into_iter()
        .flatten()
        .filter_map(|cidr| cidr.parse().ok());
    own.chain(pods)
        .map(|range| (range, Whose::Node(node.name_any())))
        .collect()
}

/// The ranges of Services and the addresses of the API server.
async fn fixed(client: &Client) -> Result<Vec<(Range, Whose)>> {
    let (all, cidrs) = (
        ListParams::default(),
        Api::<ServiceCIDR>::all(client.clone()),
    );
    let cidrs = cidrs.list(&all).await.map_err(observing("ServiceCIDRs"))?;
    let services = cidrs
        .into_iter()
        .filter_map(|cidr| cidr.spec?.cidrs)
        .flatten();
    let services = services.filter_map(|cidr| Some((cidr.parse().ok()?, Whose::Services)));
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let of_the_api = all.clone().labels("kubernetes.io/service-name=kubernetes");
    let slices = slices.list(&of_the_api).await;
    let slices = slices.map_err(observing("EndpointSlices of Service kubernetes"))?;
    let endpoints = slices.into_iter().flat_map(|slice| slice.endpoints);
    let ips = endpoints.flat_map(|endpoint| endpoint.addresses);
    let servers =
        ips.filter_map(|ip| Some((Range::from(ip.parse::<IpAddr>().ok()?), Whose::ApiServer)));
    Ok(services.chain(servers).collect())
}
