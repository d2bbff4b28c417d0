//! What the machine itself has to have; missing pieces are installed as root on Debian and Ubuntu, otherwise named in one line.

use std::{env, fs, path::Path, process::Command};

use crate::{
    error::{About as _, Error, Result},
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

/// Where Debian has PostgreSQL, whose programs are in no `PATH`, and what says that installing it starts none.
const POSTGRES: &str = "/usr/lib/postgresql";
const POSTGRES_CLUSTERS: &str = "/etc/postgresql-common/createcluster.conf";

/// PostgreSQL for tests and benches, which start servers of their own.
pub fn postgres(log: &Log) -> Result<((), Outcome)> {
    let versions = fs::read_dir(POSTGRES).into_iter().flatten().flatten();
    let mut programs = versions.map(|version| version.path().join("bin/postgres"));
    if programs.any(|program| program.is_file()) {
        return Ok(((), Outcome::Cached));
    }
    let clusters = Path::new(POSTGRES_CLUSTERS);
    if !clusters.exists() && nix::unistd::geteuid().is_root() {
        fs::create_dir_all("/etc/postgresql-common").about("create", clusters)?;
        fs::write(clusters, "create_main_cluster = false\n").about("write", clusters)?;
    }
    get(log, &["postgresql"])
}

/// Installs the packages of the programs that are missing.
pub fn install(log: &Log, needed: &[(&str, &str)]) -> Result<((), Outcome)> {
    let missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| !found(program))
        .map(|&(_, package)| package)
        .collect();
    get(log, &missing)
}

fn get(log: &Log, missing: &[&str]) -> Result<((), Outcome)> {
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
