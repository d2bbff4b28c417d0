//! `fuzz`: feeds the parsers with what nobody meant to write, guided by what it makes them do. A find is kept, and fails the step.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
};

use crate::{
    checkout::Checkout,
    error::{About, Error, Result},
    packages, product,
    steps::{Log, Steps},
};

/// Each target, and the longest input it is given: room for a few of what it reads, since longer ones only repeat that and are slower.
const TARGETS: [(&str, u32); 10] = [
    ("journal", 16 << 10),
    ("plan", 8 << 10),
    ("ingest", 16 << 10),
    ("query", 2 << 10),
    ("template", 4 << 10),
    ("targets", 16 << 10),
    ("schedule", 4 << 10),
    ("calendar", 4 << 10),
    ("commands", 1 << 10),
    ("admission", 1 << 10),
];

/// What cargo-fuzz gives the compiler, less what stable Rust does not have: code without `unsafe` needs no AddressSanitizer. They stand in for the workspace's own
/// flags, since libFuzzer looks for functions of libc while it runs, and a static program has none to find.
const FLAGS: &str = "--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares";

/// How many run at once; more than a small machine has processors, since each gets its time by the clock.
const ABREAST: usize = 4;

/// Last in the queue for processors, also where these are shared out among sessions.
const ASIDE: &str = "(echo 19 >/proc/self/autogroup) 2>/dev/null; exec nice -n 19 \"$@\"";

/// Builds the targets, and feeds one of them, or all, for so many seconds each.
pub fn fuzz(checkout: &Checkout, steps: &Steps, only: Option<&str>, seconds: u64) -> Result<()> {
    let programs = build(checkout, steps)?;
    feed(checkout, steps, &programs, only, seconds)
}

/// The programs of all targets.
pub fn build(checkout: &Checkout, steps: &Steps) -> Result<Vec<PathBuf>> {
    steps.run("fuzz targets", |log| {
        packages::install(log, &[("c++", "g++")])?;
        product::executables(log, cargo(checkout).args(["build", "--locked"]))
    })
}

/// Feeds targets that were built.
pub fn feed(
    checkout: &Checkout,
    steps: &Steps,
    programs: &[PathBuf],
    only: Option<&str>,
    seconds: u64,
) -> Result<()> {
    let chosen = TARGETS
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name));
    let chosen: Vec<_> = chosen.collect();
    if chosen.is_empty() {
        return Err(Error::Refused(format!(
            "there is no such fuzz target; there are: {}",
            TARGETS.map(|(name, _)| name).join(", ")
        )));
    }
    let queue = Mutex::new(chosen.into_iter());
    let work = || {
        let next = || {
            queue
                .lock()
                .expect("no step panics while it takes one")
                .next()
        };
        while let Some((name, longest)) = next() {
            let program = programs.iter().find(|program| program.ends_with(name));
            let program = program.expect("every target was built");
            steps.run(&format!("fuzz {name}"), |log| {
                feed_one(checkout, log, program, *longest, seconds)
            })?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..ABREAST).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|ended| ended.expect("a step does not panic"))
            .fold(Ok(()), Result::and)
    })
}

/// Cargo in the workspace of the targets.
fn cargo(checkout: &Checkout) -> Command {
    let mut cargo = checkout.cargo();
    cargo.current_dir(checkout.root.join("fuzz"));
    cargo.env("RUSTFLAGS", FLAGS);
    cargo
}

fn feed_one(
    checkout: &Checkout,
    log: &Log,
    program: &Path,
    longest: u32,
    seconds: u64,
) -> Result<()> {
    let name = program.file_name().expect("a program has a name");
    let name = name.to_string_lossy().into_owned();
    let grown = checkout.root.join("target/fuzz/corpus").join(&name);
    let finds = checkout.root.join("target/fuzz/finds");
    let memory = checkout.memory().join("fuzz").join(&name);
    for folder in [&grown, &finds, &memory] {
        fs::create_dir_all(folder).about("create", folder)?;
    }
    let fed = log.run(
        Command::new("setsid")
            .args(["--wait", "sh", "-c", ASIDE, "sh"])
            .arg(program)
            .arg(&grown)
            .arg(checkout.root.join("fuzz/seeds").join(&name))
            .arg(format!("-artifact_prefix={}/{name}-", finds.display()))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={longest}"))
            // A whole input is small, so what takes this much memory or time for it is a find, also where others have the processors.
            .args(["-rss_limit_mb=1024", "-timeout=240", "-print_final_stats=1"])
            // Stores and journals are synced to disk at every turn, which memory does at once.
            .env("TMPDIR", &memory),
    );
    fs::remove_dir_all(&memory).about("remove", &memory)?;
    fed
}
