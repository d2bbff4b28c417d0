//! `down`: ends what `up` started and leaves no process, namespace, device, route, mount or file of it.

use std::fs;

use crate::{
    checkout::Checkout,
    daemon::Daemons,
    error::{About, Result},
    install::Cluster,
    network::Network,
    steps::{Log, Outcome, Steps},
    tools::Tools,
};

pub fn down(checkout: &Checkout, steps: &Steps) -> Result<()> {
    let _lock = checkout.lock()?;
    let daemons = Daemons::new(checkout.local().join("run"), checkout.logs());
    // Guests are not asked to power off: their disks go with them.
    steps.step("processes", |_| {
        let names = daemons.names();
        names.iter().try_for_each(|name| daemons.end(name))?;
        Ok((
            (),
            if names.is_empty() {
                Outcome::Cached
            } else {
                Outcome::Done
            },
        ))
    })?;
    steps.step("network", |log| {
        Ok((Network::of(checkout).down(log)?, Outcome::Done))
    })?;
    steps.step("files", |_| {
        for folder in [checkout.local(), checkout.memory()] {
            if folder.exists() {
                fs::remove_dir_all(&folder).about("remove", &folder)?;
            }
        }
        Ok(((), Outcome::Done))
    })
}

pub fn down_existing(checkout: &Checkout, steps: &Steps, context: &str) -> Result<()> {
    let _lock = checkout.lock()?;
    let tools = Tools::clients(checkout, steps)?;
    let cluster = Cluster {
        checkout,
        tools: &tools,
        context: Some(context),
    };
    steps.step("Pilothouse", |log: &Log| {
        cluster.require_mark(log)?;
        Ok((cluster.uninstall(log)?, Outcome::Done))
    })
}
