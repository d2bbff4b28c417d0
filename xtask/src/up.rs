//! `up`: from nothing, or from wherever the last one stopped, to a cluster with Pilothouse in it and its first run done.

use std::thread;

use crate::{
    checkout::Checkout,
    control_plane::ControlPlane,
    daemon::Daemons,
    delivery,
    error::{Error, Result},
    first_run, guest_image,
    guests::{GUESTS, Guests, Kind, Made, names},
    install::{At, Cluster},
    network::Network,
    packages,
    pki::Pki,
    product::{self, Tag},
    steps::{Log, Steps},
    tools::{self, Tools},
};

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Everything,
    ClusterOnly,
}

pub fn up(checkout: &Checkout, steps: &Steps, extent: Extent) -> Result<()> {
    let _lock = checkout.lock()?;
    steps.step("system packages", packages::ensure)?;
    let network = Network::of(checkout);
    let guests = Guests::of(checkout, &network);
    if extent == Extent::ClusterOnly {
        let tools = boot(checkout, steps, &network, &guests)?;
        steps.run("nodes ready", |log| {
            ready(log, &Cluster::local(checkout, &tools))
        })?;
        return delivery::publish(checkout, &tools, &[]);
    }
    let out = checkout.root.join("target/image");
    let (tools, product) = thread::scope(|scope| {
        let image = scope.spawn(|| {
            steps.run("product image", |log| {
                product::build(checkout, log, false, &product::PROGRAMS, &out, Tag::Content)
            })
        });
        let tools = boot(checkout, steps, &network, &guests);
        let product = image.join().expect("building an image does not panic");
        Ok::<_, Error>((tools?, product?))
    })?;
    let cluster = Cluster::local(checkout, &tools);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            steps.step("images on the nodes", |log| {
                delivery::load(log, &guests, &product)
            })
        });
        let ready = steps.run("nodes ready", |log| ready(log, &cluster));
        load.join().expect("an import does not panic").and(ready)
    })?;
    let registry = tools::registry(steps)?;
    delivery::publish(
        checkout,
        &tools,
        &[product.binaries.join("kubectl-pilothouse"), registry],
    )?;
    steps.run("Pilothouse", |log| {
        cluster.install(log, &[format!("image.tag={}", product.tag)])
    })?;
    let table = first_run::carry_out(steps, &cluster, &guests)?;
    say(checkout, &table);
    Ok(())
}

/// What was done, and how to repeat it.
fn say(checkout: &Checkout, table: &str) {
    println!("\n{table}\n\nOnce more, by hand:\n");
    println!(
        "  export PATH={}:$PATH KUBECONFIG={}",
        checkout.local().join("bin").display(),
        checkout.kubeconfig().display()
    );
    println!("{}", first_run::repeat());
}

/// Installs Pilothouse into a cluster that is already there, and marks it as one that `test` and `down` may touch.
pub fn up_existing(
    checkout: &Checkout,
    steps: &Steps,
    context: &str,
    settings: &[String],
) -> Result<()> {
    let _lock = checkout.lock()?;
    let tools = Tools::clients(checkout, steps)?;
    let cluster = Cluster {
        checkout,
        tools: &tools,
        at: At::Context(context),
    };
    steps.run("mark the cluster", |log| cluster.mark(log))?;
    steps.run("Pilothouse", |log| cluster.install(log, settings))
}

/// The control plane and all guests running; the nodes may not be ready yet.
fn boot(checkout: &Checkout, steps: &Steps, network: &Network, guests: &Guests) -> Result<Tools> {
    let (tools, made) = ingredients(checkout, steps)?;
    let daemons = Daemons::new(checkout.local().join("run"), checkout.logs());
    let uplink = steps.step("network", |log| network.up(checkout, log, &names()))?;
    let pki = steps.step("certificates", |_| Pki::of(&checkout.local(), uplink))?;
    steps.step("guests", |log| guests.start(log, &daemons, &pki, &made))?;
    let control_plane = ControlPlane {
        folder: checkout.local(),
        durable: false,
        emulated: None,
        audited: false,
        managers: &["controller-manager", "scheduler"],
        network,
        pki: &pki,
        tools: &tools,
    };
    steps.step("control plane", |log| control_plane.start(log, &daemons))?;
    let cluster = Cluster::local(checkout, &tools);
    steps.run("cluster objects", |log| {
        cluster
            .apply(log, &checkout.recipe().join("manifests"))
            .and_then(|()| cluster.mark(log))
    })?;
    steps.run("guests answer", |log| guests.wait(log, &daemons))?;
    Ok(tools)
}

/// What takes minutes the first time: Debian is fetched while Go compiles.
fn ingredients(checkout: &Checkout, steps: &Steps) -> Result<(Tools, Made)> {
    let (tools, debian) = thread::scope(|scope| {
        let debian = scope.spawn(|| guest_image::debian(steps));
        let tools = Tools::cluster(checkout, steps);
        (tools, debian.join().expect("debootstrap does not panic"))
    });
    let (tools, debian) = (tools?, debian?);
    let uml = tools::user_mode_linux(steps)?;
    let disk = guest_image::disk(checkout, steps, &tools, &uml, &debian)?;
    let xstate = tools::xstate(checkout, steps)?;
    Ok((tools, Made { uml, xstate, disk }))
}

fn ready(log: &Log, cluster: &Cluster) -> Result<()> {
    let nodes = GUESTS
        .iter()
        .filter(|guest| matches!(guest.kind, Kind::Node { .. }));
    log.run(
        cluster
            .kubectl()
            .args(["wait", "--for=condition=Ready", "--timeout=180s"])
            .args(nodes.map(|node| format!("node/{}", node.name))),
    )?;
    let rollout = [
        "--namespace",
        "kube-system",
        "rollout",
        "status",
        "deployment/coredns",
        "--timeout=120s",
    ];
    log.run(cluster.kubectl().args(rollout))
}
