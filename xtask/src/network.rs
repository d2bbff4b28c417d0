//! A network namespace for each control plane of a checkout: constant addresses inside, one small network to the machine that no one else uses.

use std::{
    collections::HashSet,
    fs::{self, File},
    net::Ipv4Addr,
    process::Command,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    checkout::Checkout,
    error::{About, Error, Result},
    steps::{Log, Outcome, wait_for},
};

/// The API server's address on the guests' bridge, and their way out.
pub const BRIDGE: &str = "172.31.250.1";

/// Where the networks to the machine are taken from: 172.31.128.0/18, four addresses each.
const SLOTS: u32 = 4096;
const FIRST_SLOT: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 0);

/// Where `ip netns` keeps them.
const NAMESPACES: &str = "/run/netns";

/// Pod ranges and the nodes behind which they are.
const POD_ROUTES: [(&str, &str); 2] = [
    ("10.244.0.0/24", "172.31.250.11"),
    ("10.244.1.0/24", "172.31.250.12"),
];

pub struct Network {
    pub namespace: String,
    /// This machine's end of the pair of devices.
    device: String,
}

impl Network {
    pub fn of(checkout: &Checkout) -> Self {
        Self::named(checkout, "")
    }

    /// Another one of the same checkout. Names of devices have room for four letters.
    pub fn named(checkout: &Checkout, suffix: &str) -> Self {
        Self {
            namespace: format!("pilothouse-{}{suffix}", checkout.id),
            device: format!("ph-{}{suffix}", checkout.id),
        }
    }

    /// Makes the namespace, its bridge and its routes; returns the address at which the machine reaches it.
    pub fn up(
        &self,
        checkout: &Checkout,
        log: &Log,
        guests: &[&str],
    ) -> Result<(Ipv4Addr, Outcome)> {
        if let Some(address) = self.address(log) {
            return Ok((address, Outcome::Cached));
        }
        self.down(log)?;
        log.run(&mut ip(&["netns", "add", &self.namespace]))?;
        let address = self.connect(checkout, log)?;
        let inside = |arguments: &str| log.run(self.command("ip").args(arguments.split(' ')));
        inside("link set lo up")?;
        inside("link add br0 type bridge")?;
        inside(&format!("addr add {BRIDGE}/24 dev br0"))?;
        inside("link set br0 up")?;
        for guest in guests {
            inside(&format!("tuntap add dev t-{guest} mode tap"))?;
            inside(&format!("link set t-{guest} master br0 up"))?;
        }
        for (pods, node) in POD_ROUTES {
            inside(&format!("route add {pods} via {node}"))?;
        }
        log.run(
            self.command("sysctl")
                .args(["-q", "-w", "net.ipv4.ip_forward=1"]),
        )?;
        Ok((address, Outcome::Done))
    }

    /// Ends whatever still runs inside, and removes the namespace with all that is in it.
    pub fn down(&self, log: &Log) -> Result<()> {
        if log.ask(&mut ip(&["link", "show", "dev", &self.device])) {
            log.run(&mut ip(&["link", "del", "dev", &self.device]))?;
        }
        if log
            .read(&mut ip(&["netns", "list"]))?
            .lines()
            .any(|line| line.split(' ').next() == Some(&self.namespace))
        {
            wait_for(
                "the last process in the namespace to end",
                Duration::from_secs(10),
                || self.end_processes(log),
            )?;
            log.run(&mut ip(&["netns", "del", &self.namespace]))?;
        }
        // The first namespace of a machine makes this folder a mount; the last one takes it along.
        if fs::read_dir(NAMESPACES).is_ok_and(|mut entries| entries.next().is_none()) {
            let _others_use_it = log.run(Command::new("umount").arg(NAMESPACES));
        }
        Ok(())
    }

    /// Also finds those whose pid files are gone, after `cargo clean` for one; says whether none is left.
    fn end_processes(&self, log: &Log) -> bool {
        let pids = log
            .read(&mut ip(&["netns", "pids", &self.namespace]))
            .unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        pids.is_empty()
    }

    /// A program that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = ip(&["netns", "exec", &self.namespace]);
        command.arg(program);
        command
    }

    /// The pair of devices between machine and namespace; the lock keeps two checkouts from taking the same addresses.
    fn connect(&self, checkout: &Checkout, log: &Log) -> Result<Ipv4Addr> {
        let path = Checkout::cache()?.join("network.lock");
        let lock = File::create(&path).about("create", &path)?;
        lock.lock().about("lock", &path)?;
        let slot = free_slot(&checkout.id, &taken(log)?)?;
        let (here, there) = (Ipv4Addr::from(slot + 1), Ipv4Addr::from(slot + 2));
        log.run(&mut ip(&[
            "link",
            "add",
            &self.device,
            "type",
            "veth",
            "peer",
            "name",
            "uplink",
            "netns",
            &self.namespace,
        ]))?;
        log.run(&mut ip(&[
            "addr",
            "add",
            &format!("{here}/30"),
            "dev",
            &self.device,
        ]))?;
        log.run(&mut ip(&["link", "set", &self.device, "up"]))?;
        log.run(
            self.command("ip")
                .args(["addr", "add", &format!("{there}/30"), "dev", "uplink"]),
        )?;
        log.run(self.command("ip").args(["link", "set", "uplink", "up"]))?;
        Ok(there)
    }

    /// The inside address of a network that stands and is complete: the route is what `up` sets last.
    fn address(&self, log: &Log) -> Option<Ipv4Addr> {
        let routes = log.read(self.command("ip").args(["-4", "route"])).ok()?;
        let addresses = log
            .read(
                self.command("ip")
                    .args(["-4", "-json", "addr", "show", "dev", "uplink"]),
            )
            .ok()?;
        POD_ROUTES
            .iter()
            .all(|(pods, _)| routes.contains(pods))
            .then_some(())?;
        addresses_in(&serde_json::from_str(&addresses).ok()?).next()
    }
}

fn ip(arguments: &[&str]) -> Command {
    let mut ip = Command::new("ip");
    ip.args(arguments);
    ip
}

/// Addresses that the machine has now.
fn taken(log: &Log) -> Result<HashSet<u32>> {
    let text = log.read(&mut ip(&["-4", "-json", "addr"]))?;
    let devices = serde_json::from_str(&text).map_err(|source| Error::Json {
        what: "ip addr".into(),
        source,
    })?;
    Ok(addresses_in(&devices).map(u32::from).collect())
}

fn addresses_in(devices: &Value) -> impl Iterator<Item = Ipv4Addr> {
    let infos = devices
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|device| device["addr_info"].as_array().into_iter().flatten());
    infos.filter_map(|info| info["local"].as_str()?.parse().ok())
}

/// The first free network, looked for from a place that the checkout's name gives.
fn free_slot(id: &str, taken: &HashSet<u32>) -> Result<u32> {
    let first = u32::from_str_radix(id, 16).unwrap_or(0);
    let slots =
        (0..SLOTS).map(|step| u32::from(FIRST_SLOT) + (first.wrapping_add(step) % SLOTS) * 4);
    let mut free = slots.filter(|slot| !(0..4).any(|host| taken.contains(&(slot + host))));
    free.next()
        .ok_or_else(|| Error::Refused("no network is free in 172.31.128.0/18".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_checkouts_with_the_same_wish_get_different_networks() {
        let first = free_slot("00000007", &HashSet::new()).expect("all are free");
        assert_eq!(Ipv4Addr::from(first), Ipv4Addr::new(172, 31, 128, 28));
        let second = free_slot("00000007", &HashSet::from([first + 1])).expect("one is taken");
        assert_eq!(second, first + 4);
    }

    #[test]
    fn the_last_network_is_followed_by_the_first() {
        let last = u32::from(FIRST_SLOT) + (SLOTS - 1) * 4;
        let slot = free_slot("00000fff", &HashSet::from([last + 1])).expect("one is taken");
        assert_eq!(slot, u32::from(FIRST_SLOT));
    }
}
