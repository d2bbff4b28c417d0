//! The product on its way: its image to the nodes, its programs to the person who uses the cluster.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::{
    checkout::Checkout,
    error::{About, Result},
    guests::{GUESTS, Guest, Guests, Kind},
    product::Product,
    steps::{Log, Outcome, wait_for},
    tools::Tools,
};

/// Puts the product's image on both nodes at once; others of it make room.
pub fn load(log: &Log, guests: &Guests, product: &Product) -> Result<((), Outcome)> {
    on_both(|node| {
        let present = add_on(log, guests, node, &product.name(), &product.archive)?;
        let Some(present) = present else {
            return Ok(Outcome::Cached);
        };
        let old: Vec<&str> = present
            .lines()
            .filter(|image| image.starts_with("docker.io/pilothouse/"))
            .collect();
        if !old.is_empty() {
            let remove = format!("ctr -n k8s.io images rm {}", old.join(" "));
            log.run(guests.ssh(node).arg(remove))?;
        }
        Ok(Outcome::Done)
    })
}

/// Puts an image on both nodes beside what is there.
pub fn add(log: &Log, guests: &Guests, name: &str, archive: &Path) -> Result<((), Outcome)> {
    on_both(|node| {
        let present = add_on(log, guests, node, name, archive)?;
        Ok(present.map_or(Outcome::Cached, |_| Outcome::Done))
    })
}

fn on_both(work: impl Fn(&Guest) -> Result<Outcome> + Sync) -> Result<((), Outcome)> {
    let nodes = GUESTS
        .iter()
        .filter(|guest| matches!(guest.kind, Kind::Node { .. }));
    let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
        let loads: Vec<_> = nodes.map(|node| scope.spawn(|| work(node))).collect();
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

/// Imports an image that a node does not have; the names of those that it had then.
fn add_on(
    log: &Log,
    guests: &Guests,
    node: &Guest,
    name: &str,
    archive: &Path,
) -> Result<Option<String>> {
    let name = format!("docker.io/{name}");
    // A node that lets people in may still be starting its containerd.
    wait_for(
        &format!("containerd of {} to answer", node.name),
        Duration::from_mins(2),
        || log.ask(guests.ssh(node).arg("ctr version")),
    )?;
    let present = log.read(guests.ssh(node).arg("ctr -n k8s.io images list -q"))?;
    if present.lines().any(|image| image == name) {
        return Ok(None);
    }
    let archive = fs::File::open(archive).about("open", archive)?;
    log.run_with(
        guests.ssh(node).arg("ctr -n k8s.io images import -"),
        archive.into(),
    )?;
    Ok(Some(present))
}

/// One folder of the programs that a person types, beside the kubeconfig.
pub fn publish(checkout: &Checkout, tools: &Tools, more: &[PathBuf]) -> Result<()> {
    let folder = checkout.local().join("bin");
    fs::create_dir_all(&folder).about("create", &folder)?;
    for program in ["kubectl", "helm", "etcdutl", "health"]
        .map(|name| tools.path(name))
        .into_iter()
        .chain(more.iter().map(PathBuf::as_path))
    {
        let link = folder.join(Path::new(program.file_name().expect("programs have names")));
        let _absent = fs::remove_file(&link);
        symlink(program, &link).about("link", link)?;
    }
    Ok(())
}
