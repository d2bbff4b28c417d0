//! The developer's commands: `cargo xtask up | down | test | fuzz | bench | image | crds`.

mod arrows;
mod before;
mod bench;
mod cached;
mod checkout;
mod checks;
mod control_plane;
mod daemon;
mod delivery;
mod down;
mod error;
mod first_run;
mod fuzz;
mod guest_image;
mod guests;
mod image;
mod install;
mod network;
mod packages;
mod panics;
mod pki;
mod plane;
mod preload;
mod processes;
mod product;
mod seed;
mod steps;
mod stories;
mod tools;
mod up;

use std::{
    error::Error as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    checkout::Checkout, checks::Wishes, error::Result, product::Tag, steps::Steps, up::Extent,
};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What a developer of Pilothouse types")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a local cluster with two hosts, install Pilothouse, and carry out examples/first-run; again, to renew what changed.
    Up {
        #[command(flatten)]
        existing: Existing,
        /// Stop before Pilothouse is installed.
        #[arg(long, conflicts_with = "existing")]
        cluster_only: bool,
        /// A value for the chart of an existing cluster, such as image.repository=...; may be repeated.
        #[arg(long = "set", requires = "existing")]
        settings: Vec<String>,
    },
    /// End the local cluster and leave nothing of it.
    Down {
        #[command(flatten)]
        existing: Existing,
    },
    /// Run every test, those on a real cluster too.
    Test {
        #[command(flatten)]
        existing: Existing,
        /// Crash the operator 100 times instead of 10, and fuzz each target for an hour.
        #[arg(long)]
        long: bool,
        /// Names of tests, and options of the test programs.
        #[arg(last = true)]
        filter: Vec<String>,
    },
    /// Feed the parsers with what nobody meant to write; what breaks one is kept in target/fuzz/finds.
    Fuzz {
        /// One target only.
        target: Option<String>,
        /// Seconds for each target.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Measure one thing, beside what people use for it today.
    Bench {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write the container image as a tar, without an engine.
    Image {
        #[arg(long)]
        release: bool,
        #[arg(long, default_value = "target/image")]
        out: PathBuf,
    },
    /// Generate crds/yaml and docs/reference from the types.
    Crds,
}

/// The current context alone is never used: it may be production.
#[derive(Args)]
struct Existing {
    /// Use a cluster that is already there.
    #[arg(long, requires = "context")]
    existing: bool,
    /// Its context in KUBECONFIG.
    #[arg(long, requires = "existing")]
    context: Option<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let checkout = Checkout::here()?;
    let steps = Steps::new(checkout.logs())?;
    match command {
        Command::Up {
            existing,
            cluster_only,
            settings,
        } => match existing.context {
            Some(context) => up::up_existing(&checkout, &steps, &context, &settings),
            None if cluster_only => up::up(&checkout, &steps, Extent::ClusterOnly),
            None => up::up(&checkout, &steps, Extent::Everything),
        },
        Command::Down { existing } => match existing.context {
            Some(context) => down::down_existing(&checkout, &steps, &context),
            None => down::down(&checkout, &steps),
        },
        Command::Test {
            existing,
            long,
            filter,
        } => {
            let wishes = Wishes {
                long,
                context: existing.context,
                filter,
            };
            checks::test(&checkout, &steps, &wishes)
        }
        Command::Fuzz { target, seconds } => {
            fuzz::fuzz(&checkout, &steps, target.as_deref(), seconds)
        }
        Command::Bench { name, arguments } => bench::bench(&checkout, &steps, &name, &arguments),
        Command::Image { release, out } => {
            image(&checkout, &steps, release, &checkout.root.join(out))
        }
        Command::Crds => steps.run("crdgen", |log| product::generate(&checkout, log, &[])),
    }
}

fn image(checkout: &Checkout, steps: &Steps, release: bool, out: &Path) -> Result<()> {
    let product = steps.run("product image", |log| {
        product::build(
            checkout,
            log,
            release,
            &product::PROGRAMS,
            out,
            Tag::Version,
        )
    })?;
    println!("{} in {}", product.name(), product.archive.display());
    Ok(())
}
