//! `down`: ends what `up` started and leaves no process, namespace, device, route, mount or file of it.

use std::{fs, thread};

use crate::{
    checkout::Checkout,
    daemon::Daemons,
    error::{About, Result},
    install::{At, Cluster},
    network::Network,
    plane::Plane,
    steps::{Log, Outcome, Steps},
    tools::Tools,
};

pub fn down(checkout: &Checkout, steps: &Steps) -> Result<()> {
    let _lock = checkout.lock()?;
    let daemons = Daemons::new(checkout.local().join("run"), checkout.logs());
    // Guests are not asked to power off: their disks go with them.
    steps.step("processes", |_| {
        let names = daemons.names();
        thread::scope(|scope| {
            let ends: Vec<_> = names
                .iter()
                .map(|name| scope.spawn(|| daemons.end(name)))
                .collect();
            ends.into_iter()
                .try_for_each(|end| end.join().expect("ending a process does not panic"))
        })?;
        Ok((
            (),
            if names.is_empty() {
                Outcome::Cached
            } else {
                Outcome::Done
            },
        ))
    })?;
    steps.run("network", |log| Network::of(checkout).down(log))?;
    steps.run("planes", |log| Plane::sweep(checkout, log))?;
    steps.run("files", |_| {
        for folder in [checkout.local(), checkout.memory()] {
            if folder.exists() {
                fs::remove_dir_all(&folder).about("remove", &folder)?;
            }
        }
        Ok(())
    })
}

pub fn down_existing(checkout: &Checkout, steps: &Steps, context: &str) -> Result<()> {
    let _lock = checkout.lock()?;
    let tools = Tools::clients(checkout, steps)?;
    let cluster = Cluster {
        checkout,
        tools: &tools,
        at: At::Context(context),
    };
    steps.run("Pilothouse", |log: &Log| {
        cluster.require_mark(log)?;
        cluster.uninstall(log)
    })
}
