//! `test`: everything that has to hold before a change is done, the cheapest first, the real cluster last.

use std::{fs, path::Path, process::Command, thread};

use crate::{
    arrows, before,
    bench::seen,
    checkout::Checkout,
    daemon::Daemons,
    down,
    error::{About, Error, Result},
    fuzz,
    guests::Guests,
    install::{At, Cluster},
    network::Network,
    packages,
    plane::{Plane, Recipe},
    product,
    steps::{Log, Steps},
    stories::{LAST, OF_THE_API, Stories, UPGRADE},
    tools::Tools,
    up::{self, Extent},
};

/// The controller manager checks the types of policies' expressions.
const OLDEST: Recipe = Recipe {
    name: "old",
    durable: false,
    emulated: Some("1.33"),
    audited: false,
    managers: &["controller-manager"],
};

pub struct Wishes {
    /// Ten times the crashes, and an hour for each fuzz target.
    pub long: bool,
    /// A cluster that is already there, instead of the local one.
    pub context: Option<String>,
    /// For `cargo test`: names of tests.
    pub filter: Vec<String>,
}

pub fn test(checkout: &Checkout, steps: &Steps, wishes: &Wishes) -> Result<()> {
    let cargo = |words: &[&str]| {
        let mut cargo = checkout.cargo();
        cargo.args(words);
        cargo
    };
    let check = |name: &str, words: &[&str]| steps.run(name, |log| log.run(&mut cargo(words)));
    let clippy = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ];
    check("format", &["fmt", "--all", "--check"])?;
    let fuzz_targets = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    check("format of fuzz targets", &fuzz_targets)?;
    check("clippy", &clippy)?;
    steps.run("direction of dependencies", |log| {
        arrows::check(checkout, log)
    })?;
    steps.run("generated files", |log| {
        product::generate(checkout, log, &["--check"])
    })?;
    steps.step("PostgreSQL for tests", packages::postgres)?;
    let units = ["test", "--quiet", "--workspace", "--exclude", "e2e", "--"];
    seen(cargo(&units).args(&wishes.filter))?;
    let targets = fuzz::build(checkout, steps)?;
    let fuzz = || {
        let seconds = if wishes.long { 3_600 } else { 120 };
        fuzz::feed(checkout, steps, &targets, None, seconds)
    };
    match &wishes.context {
        Some(context) => on_existing(checkout, steps, context, wishes, fuzz),
        None => on_local(checkout, steps, wishes, fuzz),
    }
}

/// A cluster that is up stays up; one that the tests needed goes with them. All is compiled before, since a cluster takes its share of the machine.
fn on_local(
    checkout: &Checkout,
    steps: &Steps,
    wishes: &Wishes,
    fuzz: impl Fn() -> Result<()> + Sync,
) -> Result<()> {
    let stories = Stories::of(checkout, steps, &wishes.filter)?;
    let before = before::made(checkout, steps, wishes.long)?;
    let was_up = Daemons::new(checkout.local().join("run"), checkout.logs()).alive("apiserver");
    let tested = up::up(checkout, steps, Extent::Everything).and_then(|()| {
        let tools = Tools::clients(checkout, steps)?;
        let cluster = Cluster::local(checkout, &tools);
        steps.run("helm test", |log| cluster.helm_test(log))?;
        if let Some(before) = &before {
            let network = Network::of(checkout);
            before::provide(checkout, steps, &Guests::of(checkout, &network), before)?;
        }
        let kubeconfig = checkout.kubeconfig();
        beside(&fuzz, || {
            stories.play(
                |story| story != UPGRADE || before.is_some(),
                |program| set(program, checkout, &kubeconfig, wishes),
            )
        })?;
        on_oldest(checkout, steps, &stories, wishes.long)
    });
    if was_up {
        // The last story has taken Pilothouse out.
        return tested.and(up::up(checkout, steps, Extent::Everything));
    }
    // Silent, so that the last lines on the screen are the tests' own.
    down::down(checkout, &Steps::silent(checkout.logs())?)?;
    tested
}

/// What needs no more than an API server holds on the oldest Kubernetes too, where nothing stamps who asked. It is compiled, which takes long, or emulated.
fn on_oldest(checkout: &Checkout, steps: &Steps, stories: &Stories, compiled: bool) -> Result<()> {
    let (tools, emulated) = if compiled {
        (Tools::oldest_plane(checkout, steps)?, None)
    } else {
        (Tools::plane(checkout, steps)?, OLDEST.emulated)
    };
    let recipe = Recipe { emulated, ..OLDEST };
    let plane = Plane::up(checkout, steps, &tools, recipe)?;
    let kubeconfig = plane.kubeconfig();
    stories.play(
        |story| OF_THE_API.contains(&story),
        |program| {
            program.env(KUBECONFIG, &kubeconfig);
            program.env("PILOTHOUSE_E2E_STAMPING", "Demand");
        },
    )
}

fn on_existing(
    checkout: &Checkout,
    steps: &Steps,
    context: &str,
    wishes: &Wishes,
    fuzz: impl Fn() -> Result<()> + Sync,
) -> Result<()> {
    let tools = Tools::clients(checkout, steps)?;
    let cluster = Cluster {
        checkout,
        tools: &tools,
        at: At::Context(context),
    };
    let kubeconfig = checkout.root.join("target/existing.kubeconfig");
    steps.run("the cluster's mark", |log: &Log| {
        cluster.require_mark(log)?;
        let text = log.read(
            cluster
                .kubectl()
                .args(["config", "view", "--minify", "--flatten"]),
        )?;
        fs::write(&kubeconfig, text).about("write", &kubeconfig)?;
        Ok(())
    })?;
    let stories = Stories::of(checkout, steps, &wishes.filter)?;
    beside(&fuzz, || {
        stories.play(
            |story| story != LAST,
            |program| set(program, checkout, &kubeconfig, wishes),
        )
    })
}

/// Stories wait most of the time; fuzz targets take what they leave of the machine.
fn beside(
    fuzz: &(impl Fn() -> Result<()> + Sync),
    play: impl FnOnce() -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let fed = scope.spawn(fuzz);
        let played = play();
        match (played, fed.join().expect("a step does not panic")) {
            (Err(first), Err(other)) => Err(Error::Both {
                first: first.into(),
                other: other.into(),
            }),
            (played, fed) => played.and(fed),
        }
    })
}

const KUBECONFIG: &str = "PILOTHOUSE_E2E_KUBECONFIG";

/// Sets the stage for a story.
fn set(program: &mut Command, checkout: &Checkout, kubeconfig: &Path, wishes: &Wishes) {
    program.env(KUBECONFIG, kubeconfig);
    program.env("PILOTHOUSE_E2E_STATE", checkout.local());
    if wishes.long {
        program.env("PILOTHOUSE_E2E_LONG", "1");
    }
}
