//! `bench NAME`: a release build of one bench, its output passed through. Some stand on a control plane without nodes, with Pilothouse's own programs on it.

use std::{path::Path, process::Command};

use crate::{
    checkout::Checkout,
    error::{Error, Result},
    packages,
    plane::{Plane, Recipe},
    processes::Processes,
    product,
    steps::{Log, Steps, line},
    tools::{Kyverno, Tools},
};

/// What a bench `NAME` needs beside its program `bench-NAME`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// Nothing: it measures a decision.
    Bare,
    /// A plane with a store of records, whose address, certificate authority, token and neighbourhood on the disk the bench is given.
    Store,
    /// A plane with the operator at work on it.
    Operator,
    /// A plane, and the command line of an operator that the bench starts itself.
    Command,
    /// A plane with the operator at work on it, and the command line of a webhook that the bench starts itself.
    Asked,
    /// A plane with the operator at work on it, the API server's audit log, and the command line of a controller manager that the bench starts itself.
    Audited,
}

const BENCHES: [(&str, Ground); 7] = [
    ("admission", Ground::Asked),
    ("commands", Ground::Bare),
    ("fanout", Ground::Operator),
    ("memory", Ground::Command),
    ("records", Ground::Store),
    ("runs", Ground::Audited),
    ("schedule", Ground::Operator),
];

/// Nothing is acknowledged before it is on disk. The controllers of Kubernetes run where one of them is the peer; elsewhere none touches what stands for nodes.
fn plane(bench: &str) -> Recipe {
    Recipe {
        name: "b",
        durable: true,
        emulated: None,
        audited: bench == "runs",
        managers: match bench {
            "schedule" => &["controller-manager"],
            _ => &[],
        },
    }
}

pub fn bench(checkout: &Checkout, steps: &Steps, name: &str, arguments: &[String]) -> Result<()> {
    let Some(&(_, ground)) = BENCHES.iter().find(|(bench, _)| *bench == name) else {
        let names: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
        return Err(Error::Refused(format!(
            "no bench is called '{name}'; there are: {}",
            names.join(", ")
        )));
    };
    match ground {
        Ground::Bare => bare(checkout, steps, name, arguments),
        Ground::Store if arguments == [POSTGRES] => on_postgres(checkout, steps),
        _ => on_plane(checkout, steps, (name, ground), arguments),
    }
}

/// What the machine has to have so that a bench finds what it compares with, which is fetched outside the network that it runs in.
fn peers(bench: &str) -> &'static [(&'static str, &'static str)] {
    match bench {
        "fanout" => &[
            ("parallel-ssh", "pssh"),
            ("ansible", "ansible-core"),
            ("sshd", "openssh-server"),
        ],
        _ => &[],
    }
}

fn on_plane(
    checkout: &Checkout,
    steps: &Steps,
    (name, ground): (&str, Ground),
    arguments: &[String],
) -> Result<()> {
    let peer = (ground == Ground::Asked && arguments == PEER)
        .then(|| Kyverno::build(checkout, steps))
        .transpose()?;
    steps.step("peers", |log| packages::install(log, peers(name)))?;
    let program = format!("bench-{name}");
    let programs = [&program, "operator", "server", "toolkit", "webhook"];
    let program = steps.run("release build", |log| {
        Ok(product::compile(checkout, log, true, &programs)?.remove(0))
    })?;
    let tools = Tools::plane(checkout, steps)?;
    let plane = Plane::up(checkout, steps, &tools, plane(name))?;
    let processes = Processes {
        plane: &plane,
        programs: program.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    let mut bench = plane.command(program);
    steps.run("product", |log| {
        processes.start(log)?;
        ground.furnish(&mut bench, &processes, log)
    })?;
    if let Some(peer) = peer {
        steps.run("Kyverno's kinds", |log| kinds(log, &plane, &peer))?;
        bench.env("PILOTHOUSE_BENCH_KYVERNO", peer.program);
        return seen(&mut bench);
    }
    seen(bench.args(arguments))
}

impl Ground {
    /// Starts what the bench stands on, and tells it of that.
    fn furnish(self, bench: &mut Command, processes: &Processes<'_>, log: &Log) -> Result<()> {
        let plane = processes.plane;
        let (operator, records) = (processes.operator(log)?, processes.records(log)?);
        if matches!(self, Self::Operator | Self::Audited | Self::Asked) {
            plane.daemons.start("operator", &plane.inside(&operator))?;
        }
        match self {
            Self::Bare | Self::Operator => {}
            Self::Store => {
                bench.args(records);
            }
            Self::Audited => {
                let manager = plane.manager("controller-manager");
                bench.arg(plane.audit_log());
                bench.arg(manager.get_program()).args(manager.get_args());
            }
            Self::Asked => {
                let webhook = processes.webhook(log)?;
                let kubeconfig = processes.kubeconfig("webhook");
                bench.env("PILOTHOUSE_BENCH_WEBHOOK_KUBECONFIG", kubeconfig);
                bench.arg(webhook.get_program()).args(webhook.get_args());
            }
            Self::Command => {
                let kubeconfig = processes.kubeconfig("operator");
                bench.env("PILOTHOUSE_BENCH_OPERATOR_KUBECONFIG", kubeconfig);
                bench.arg(operator.get_program()).args(operator.get_args());
            }
        }
        Ok(())
    }
}

/// What the bench of admission is told when it measures Kyverno, too.
const PEER: [&str; 2] = ["--peer", "kyverno"];

/// Has the plane serve the kinds without which Kyverno does not start.
fn kinds(log: &Log, plane: &Plane, peer: &Kyverno) -> Result<()> {
    let kubectl = || plane.cluster().kubectl();
    // They are too large for the annotation that a plain apply leaves.
    let create = ["create", "--recursive", "--filename"];
    log.run(kubectl().args(create).arg(&peer.kinds))?;
    let wait = ["wait", "--for=condition=Established", "--timeout=1m"];
    log.run(
        kubectl()
            .args(wait)
            .args(["customresourcedefinitions", "--all"]),
    )
}

/// Needs no plane, and no other program.
fn bare(checkout: &Checkout, steps: &Steps, name: &str, arguments: &[String]) -> Result<()> {
    let program = format!("bench-{name}");
    let program = steps.run("release build", |log| {
        Ok(product::compile(checkout, log, true, &[program.as_str()])?.remove(0))
    })?;
    seen(Command::new(program).args(arguments))
}

/// What the bench of records is told when it measures PostgreSQL, which it starts itself.
const POSTGRES: &str = "--postgres";

/// Needs no plane: the store and PostgreSQL are all there is.
fn on_postgres(checkout: &Checkout, steps: &Steps) -> Result<()> {
    steps.step("PostgreSQL", packages::postgres)?;
    let program = steps.run("release build", |log| {
        Ok(product::compile(checkout, log, true, &["bench-records"])?.remove(0))
    })?;
    // Unlike /tmp, which may be memory, it is on a disk.
    seen(
        Command::new(program)
            .env("TMPDIR", "/var/tmp")
            .arg(POSTGRES),
    )
}

/// Runs a program whose output is for the person at the screen.
pub fn seen(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|source| Error::Start {
        line: line(command),
        source,
    })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            line: line(command),
            status: status.to_string(),
        })
    }
}
