//! What the machine itself has to have; missing pieces are installed as root on Debian and Ubuntu, otherwise named in one line.

use std::{env, path::Path, process::Command};

use crate::{
    error::{Error, Result},
    steps::{Log, Outcome},
};

/// Program to look for, and the Debian package that has it.
const NEEDED: [(&str, &str); 9] = [
    ("cc", "gcc"),
    ("debootstrap", "debootstrap"),
    ("dpkg", "dpkg"),
    ("ip", "iproute2"),
    ("mke2fs", "e2fsprogs"),
    ("setsid", "util-linux"),
    ("ssh", "openssh-client"),
    ("strip", "binutils"),
    ("unshare", "util-linux"),
];

pub fn ensure(log: &Log) -> Result<((), Outcome)> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::Refused("a local cluster needs root for its network and its guests: sudo -E env PATH=$PATH cargo xtask up".into()));
    }
    if !found("go") {
        return Err(Error::Refused(
            "Go is missing; install 1.26, or any from 1.21 on, which fetches 1.26 by itself".into(),
        ));
    }
    install(log, &NEEDED)
}

/// Installs the packages of the programs that are missing.
pub fn install(log: &Log, needed: &[(&str, &str)]) -> Result<((), Outcome)> {
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| !found(program))
        .map(|&(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(((), Outcome::Cached));
    }
    if !found("apt-get") {
        return Err(Error::Refused(format!(
            "install these first: {}",
            missing.join(" ")
        )));
    }
    log.run(apt().args(["update", "-q"]))?;
    log.run(
        apt()
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(missing),
    )?;
    Ok(((), Outcome::Done))
}

pub fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

fn found(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([
            Path::new("/usr/sbin").to_owned(),
            Path::new("/sbin").to_owned(),
        ])
        .any(|folder| folder.join(program).is_file())
}
