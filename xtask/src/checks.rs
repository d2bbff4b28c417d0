//! `test`: everything that has to hold before a change is done, the cheapest first, the real cluster last.

use std::{fs, path::PathBuf, process::Command, thread};

use crate::{
    arrows, before,
    bench::seen,
    checkout::Checkout,
    daemon::Daemons,
    down,
    error::{About, Result},
    fuzz,
    guests::Guests,
    install::{At, Cluster},
    network::Network,
    packages,
    plane::{Plane, Recipe},
    product,
    steps::{Log, Steps},
    tools::Tools,
    up::{self, Extent},
};

/// The controller manager checks the types of policies' expressions.
const OLDEST: Recipe = Recipe {
    name: "old",
    durable: false,
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
    fuzz::fuzz(checkout, steps, None, if wishes.long { 3_600 } else { 120 })?;
    match &wishes.context {
        Some(context) => on_existing(checkout, steps, context, wishes),
        None => on_local(checkout, steps, wishes),
    }
}

/// A cluster that is up stays up; one that the tests needed goes with them.
fn on_local(checkout: &Checkout, steps: &Steps, wishes: &Wishes) -> Result<()> {
    let was_up = Daemons::new(checkout.local().join("run"), checkout.logs()).alive("apiserver");
    let tested = up_beside_oldest(checkout, steps).and_then(|()| {
        let tools = Tools::clients(checkout, steps)?;
        let cluster = Cluster::local(checkout, &tools);
        steps.run("helm test", |log| cluster.helm_test(log))?;
        let network = Network::of(checkout);
        let mut stories = stories(checkout)?;
        if !before::provide(checkout, steps, &Guests::of(checkout, &network))? {
            stories.retain(|story| story != UPGRADE);
        }
        e2e(checkout, checkout.kubeconfig(), wishes, &stories)?;
        e2e(checkout, checkout.kubeconfig(), wishes, &[LAST.to_owned()])?;
        on_oldest(checkout, steps, wishes)
    });
    if was_up {
        // The last story has taken Pilothouse out.
        return tested.and(up::up(checkout, steps, Extent::Everything));
    }
    // Silent, so that the last lines on the screen are the tests' own.
    down::down(checkout, &Steps::silent(checkout.logs())?)?;
    tested
}

/// The oldest Kubernetes is compiled beside what the cluster needs.
fn up_beside_oldest(checkout: &Checkout, steps: &Steps) -> Result<()> {
    thread::scope(|scope| {
        let oldest = scope.spawn(|| Tools::oldest(checkout, steps));
        let up = up::up(checkout, steps, Extent::Everything);
        up.and(oldest.join().expect("building a tool does not panic"))
    })
}

/// What needs no more than an API server holds on the oldest Kubernetes too, where nothing stamps who asked.
fn on_oldest(checkout: &Checkout, steps: &Steps, wishes: &Wishes) -> Result<()> {
    let tools = Tools::oldest_plane(checkout, steps)?;
    let plane = Plane::up(checkout, steps, &tools, OLDEST)?;
    let stories = ["bounds", "examples", "policies", "schema"].map(str::to_owned);
    let mut cargo = tests(checkout, plane.kubeconfig(), &stories);
    cargo.arg("--").args(&wishes.filter);
    seen(cargo.env("PILOTHOUSE_E2E_STAMPING", "Demand"))
}

fn on_existing(checkout: &Checkout, steps: &Steps, context: &str, wishes: &Wishes) -> Result<()> {
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
    e2e(checkout, kubeconfig, wishes, &stories(checkout)?)
}

fn e2e(
    checkout: &Checkout,
    kubeconfig: PathBuf,
    wishes: &Wishes,
    stories: &[String],
) -> Result<()> {
    let mut cargo = tests(checkout, kubeconfig, stories);
    cargo.arg("--").args(&wishes.filter);
    cargo.env("PILOTHOUSE_E2E_STATE", checkout.local());
    if wishes.long {
        cargo.env("PILOTHOUSE_E2E_LONG", "1");
    }
    seen(&mut cargo)
}

/// `cargo test` of some stories on a cluster.
fn tests(checkout: &Checkout, kubeconfig: PathBuf, stories: &[String]) -> Command {
    let mut cargo = checkout.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    for story in stories {
        cargo.args(["--test", story]);
    }
    cargo.env("PILOTHOUSE_E2E_KUBECONFIG", kubeconfig);
    cargo
}

/// The story that takes Pilothouse out of the cluster, which all others need.
const LAST: &str = "uninstall";

/// The story that needs the version before.
const UPGRADE: &str = "upgrade";

/// The other test programs of e2e, by name: picked by package, they would have their dependencies compiled once more.
fn stories(checkout: &Checkout) -> Result<Vec<String>> {
    let folder = checkout.root.join("e2e/tests");
    let entries = fs::read_dir(&folder).about("read", &folder)?.flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .filter(|name| name != LAST)
        .collect();
    names.sort();
    Ok(names)
}
