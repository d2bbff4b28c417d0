//! `up`: from nothing, or from wherever the last one stopped, to a cluster with Pilothouse in it and its first run done.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
};

use crate::{
    checkout::Checkout,
    control_plane::ControlPlane,
    daemon::Daemons,
    error::{About, Error, Result},
    first_run, guest_image,
    guests::{GUESTS, Guest, Guests, Kind, names},
    install::Cluster,
    network::Network,
    packages,
    pki::Pki,
    product::{self, Product, Tag},
    steps::{Log, Outcome, Steps},
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
        let tools = cluster(checkout, steps, &network, &guests)?;
        return publish(checkout, &tools, None);
    }
    let out = checkout.root.join("target/image");
    let (tools, product) = thread::scope(|scope| {
        let image = scope.spawn(|| {
            steps.step("product image", |log| {
                Ok((
                    product::build(checkout, log, false, &out, Tag::Content)?,
                    Outcome::Done,
                ))
            })
        });
        let tools = cluster(checkout, steps, &network, &guests);
        let product = image.join().expect("building an image does not panic");
        Ok::<_, Error>((tools?, product?))
    })?;
    publish(checkout, &tools, Some(&product))?;
    steps.step("images on the nodes", |log| load(log, &guests, &product))?;
    let cluster = Cluster {
        checkout,
        tools: &tools,
        context: None,
    };
    steps.step("Pilothouse", |log| {
        Ok((
            cluster.install(log, &[format!("image.tag={}", product.tag)])?,
            Outcome::Done,
        ))
    })?;
    let table = first_run::carry_out(steps, &cluster, &guests)?;
    println!("\n{table}\n\nOnce more, by hand:\n");
    println!(
        "  export PATH={}:$PATH KUBECONFIG={}",
        checkout.local().join("bin").display(),
        checkout.kubeconfig().display()
    );
    println!("{}", first_run::repeat(&checkout.root)?);
    Ok(())
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
        context: Some(context),
    };
    steps.step("mark the cluster", |log| {
        Ok((cluster.mark(log)?, Outcome::Done))
    })?;
    steps.step("Pilothouse", |log| {
        Ok((cluster.install(log, settings)?, Outcome::Done))
    })
}

/// The cluster itself: nodes ready, names resolved, hosts reachable.
fn cluster(
    checkout: &Checkout,
    steps: &Steps,
    network: &Network,
    guests: &Guests,
) -> Result<Tools> {
    let (tools, uml, disk) = ingredients(checkout, steps)?;
    let daemons = Daemons::new(checkout.local().join("run"), checkout.logs());
    let uplink = steps.step("network", |log| network.up(checkout, log, &names()))?;
    let pki = steps.step("certificates", |_| Pki::of(checkout, uplink))?;
    steps.step("guests", |log| {
        guests.start(log, &daemons, &pki, &uml, &disk)
    })?;
    let control_plane = ControlPlane {
        checkout,
        network,
        pki: &pki,
        tools: &tools,
    };
    steps.step("control plane", |log| control_plane.start(log, &daemons))?;
    let cluster = Cluster {
        checkout,
        tools: &tools,
        context: None,
    };
    steps.step("cluster objects", |log| {
        cluster.apply(log, &checkout.recipe().join("manifests"))?;
        Ok((cluster.mark(log)?, Outcome::Done))
    })?;
    steps.step("guests answer", |log| {
        Ok((guests.wait(log, &daemons)?, Outcome::Done))
    })?;
    steps.step("nodes ready", |log| {
        Ok((ready(log, &cluster)?, Outcome::Done))
    })?;
    Ok(tools)
}

/// What takes minutes the first time: Debian is fetched while Go compiles.
fn ingredients(checkout: &Checkout, steps: &Steps) -> Result<(Tools, PathBuf, PathBuf)> {
    let (tools, debian) = thread::scope(|scope| {
        let debian = scope.spawn(|| guest_image::debian(steps));
        let tools = Tools::cluster(checkout, steps);
        (tools, debian.join().expect("debootstrap does not panic"))
    });
    let (tools, debian) = (tools?, debian?);
    let uml = tools::user_mode_linux(steps)?;
    let disk = guest_image::disk(checkout, steps, &tools, &uml, &debian)?;
    Ok((tools, uml, disk))
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

/// Puts the product's image on both nodes at once; the one before makes room.
fn load(log: &Log, guests: &Guests, product: &Product) -> Result<((), Outcome)> {
    let nodes = GUESTS
        .iter()
        .filter(|guest| matches!(guest.kind, Kind::Node { .. }));
    let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
        let loads: Vec<_> = nodes
            .map(|node| scope.spawn(move || load_on(log, guests, node, product)))
            .collect();
        loads
            .into_iter()
            .map(|load| load.join().expect("an import does not panic"))
            .collect()
    });
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>>>()?;
    Ok((
        (),
        if outcomes.contains(&Outcome::Done) {
            Outcome::Done
        } else {
            Outcome::Cached
        },
    ))
}

fn load_on(log: &Log, guests: &Guests, node: &Guest, product: &Product) -> Result<Outcome> {
    let name = format!("docker.io/{}", product.name());
    let present = log.read(guests.ssh(node).arg("ctr -n k8s.io images list -q"))?;
    if present.lines().any(|image| image == name) {
        return Ok(Outcome::Cached);
    }
    let archive = fs::File::open(&product.archive).about("open", &product.archive)?;
    log.run_with(
        guests.ssh(node).arg("ctr -n k8s.io images import -"),
        archive.into(),
    )?;
    let old: Vec<&str> = present
        .lines()
        .filter(|image| image.starts_with("docker.io/pilothouse/"))
        .collect();
    if !old.is_empty() {
        log.run(
            guests
                .ssh(node)
                .arg(format!("ctr -n k8s.io images rm {}", old.join(" "))),
        )?;
    }
    Ok(Outcome::Done)
}

/// One folder of the programs that a person types, beside the kubeconfig.
fn publish(checkout: &Checkout, tools: &Tools, product: Option<&Product>) -> Result<()> {
    let folder = checkout.local().join("bin");
    fs::create_dir_all(&folder).about("create", &folder)?;
    let plugin = product.map(|product| product.binaries.join("kubectl-pilothouse"));
    for program in [tools.path("kubectl"), tools.path("helm")]
        .into_iter()
        .chain(plugin.as_deref())
    {
        let link = folder.join(Path::new(program.file_name().expect("programs have names")));
        let _absent = fs::remove_file(&link);
        symlink(program, &link).about("link", link)?;
    }
    Ok(())
}
